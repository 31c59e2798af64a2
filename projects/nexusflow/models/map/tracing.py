# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Follow lines through dense fields, from seeds on the line, in short steps that are pulled back onto it.

However long and bent a line is, each step needs to know its neighbourhood only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..bev.grid import BEVGrid
from .line_fields import halved_angle, read_class

# a trained model's chains of duplicates are one or two long (67 frames)
ROUNDS = 16


def resample(lines_m: Tensor, valid: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Points at equal distances along lines.

    Args:
        lines_m: (..., S, 2) points.
        valid: (..., S) which points count: one run a line.
        count: Points wanted.

    Returns:
        (..., count, 2) points and (...) lengths in metres.
    """
    lengths = lines_m.diff(dim=-2).norm(dim=-1) * (valid[..., 1:] & valid[..., :-1])
    along = F.pad(lengths.cumsum(-1), (1, 0))
    wanted = along[..., -1:] * torch.linspace(0, 1, count, device=lines_m.device)
    # the search of torch.searchsorted, which no ONNX operator does
    right = (along.unsqueeze(-2) <= wanted.unsqueeze(-1)).sum(-1).clamp(1, along.shape[-1] - 1)
    start, stop = along.gather(-1, right - 1), along.gather(-1, right)
    weight = ((wanted - start) / (stop - start).clamp(min=1e-6)).clamp(0, 1).unsqueeze(-1)
    low, high = (
        lines_m.gather(-2, index.unsqueeze(-1).expand(*index.shape, 2))
        for index in (right - 1, right)
    )
    return torch.lerp(low, high, weight), along[..., -1]


def first_of_each(loses: Tensor, alive: Tensor, rounds: int = ROUNDS) -> Tensor:
    """What a greedy choice from the best to the worst keeps, for all at once.

    Whether a candidate is kept is right after as many rounds as its chain of better ones is long: the best at once,
    those that lose only to it after one round, and so on.

    Args:
        loses: (B, M, M) whether the first would lose to the second, which is better.
        alive: (B, M) candidates.
        rounds: Longest chain.

    Returns:
        Boolean (B, M): alive, and none that is kept beats it.
    """
    kept = alive
    for _ in range(rounds):
        kept = alive & ~(loses & kept.unsqueeze(1)).any(2)
    return kept


def gaps_sq_m2(lines_m: Tensor, parts: int = 3, chunks: int = 16) -> Tensor:
    """How far the points of each line are from each line, in float32 whatever autocast says.

    Args:
        lines_m: (B, M, P, 2) points.
        parts: Points a segment is represented by: a line of twenty points may have metres between them.
        chunks: Pieces the points are taken in, since a piece stays in the processor's cache.

    Returns:
        (B, M, P, M) square of the distance in metres: of which point, to which line.
    """
    lines_m = lines_m.float()
    part = torch.linspace(0, 1, parts + 1, device=lines_m.device)[:-1, None]
    start, stop = lines_m[:, :, :-1, None], lines_m[:, :, 1:, None]
    finer = torch.lerp(start, stop, part).flatten(2, 3).transpose(1, 2)
    size = finer.shape[1:3]
    # |p - q|^2 as one product; torch.cdist does it too, three times as slowly on ordinary CPUs
    ours, others = lines_m.flatten(1, 2), finer.flatten(1, 2)
    ours_sq, others_sq = (pts.square().sum(-1, keepdim=True) for pts in (ours, others))
    ours = torch.cat([-2 * ours, ours_sq, torch.ones_like(ours_sq)], dim=-1)
    others = torch.cat([others, torch.ones_like(others_sq), others_sq], dim=-1).transpose(1, 2)
    with torch.autocast(lines_m.device.type, enabled=False):
        near = [(piece @ others).unflatten(2, size).amin(2) for piece in ours.chunk(chunks, dim=1)]
    return torch.cat(near, dim=1).unflatten(1, lines_m.shape[1:3])


class LineTracer:
    """Lines from dense fields.

    Args:
        grid: Grid of the fields.
        num_points: Points P of a line that comes out.
        num_seeds: Walks that are started, M.
        step_m: Length of a step.
        num_steps: Steps each way.
        min_prob: A walk goes on while the line's probability is higher than this.
        spread: Edge in cells of the window in which only the best seed is kept, odd.
        cover_m: A line of which most points lie this near to a better line of its class is a duplicate.
    """

    def __init__(
        self,
        grid: BEVGrid,
        num_points: int,
        num_seeds: int = 60,
        step_m: float = 1.25,
        num_steps: int = 50,
        min_prob: float = 0.2,
        spread: int = 5,
        cover_m: float = 1.2,
    ) -> None:
        self.grid, self.num_points, self.num_seeds = grid, num_points, num_seeds
        self.step_m, self.num_steps, self.min_prob = step_m, num_steps, min_prob
        self.spread, self.cover_m = spread, cover_m

    @torch.no_grad()
    def __call__(
        self, prob: Tensor, offset: Tensor, tangent: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Trace.

        Args:
            prob: (B, L, h, w) probability that a line passes.
            offset: (B, L, 2, h, w) metres to the nearest point of a line.
            tangent: (B, L, 2, h, w) cosine and sine of twice the line's angle.

        Returns:
            Lines (B, M, P, 2), classes (B, M) and scores (B, M), best first; score 0 where there is no line, or one
            that a better line covers.
        """
        fields = torch.cat([offset, tangent, prob.unsqueeze(2)], dim=2)
        start, labels, alive = self._seeds(fields, prob)
        heading = halved_angle(read_class(self.grid, fields, start, labels)[..., 2:4])
        both = [torch.cat([a, b], dim=1) for a, b in ((start, start), (heading, -heading))]
        walked = self._walk(fields, *both, labels.repeat(1, 2), alive.repeat(1, 2))
        (ahead, back), (kept_ahead, kept_back), (ring, _) = (t.chunk(2, dim=1) for t in walked)
        points = torch.cat([back.flip(2), ahead[:, :, 1:]], dim=2)
        # a ring needs one of its walks
        kept_back = kept_back & ~ring.unsqueeze(-1)
        kept = torch.cat([kept_back[:, :, 1:].flip(2), kept_ahead], dim=2)
        lines, length = resample(points, kept, self.num_points)
        along = labels.unsqueeze(-1).expand(-1, -1, self.num_points).flatten(1)
        prob_along = read_class(self.grid, fields, lines.flatten(1, 2), along)[..., 4]
        score = prob_along.view(lines.shape[:3]).mean(-1) * alive
        # what is a few steps long may be a speck
        score = score * length / (length + 2 * self.step_m)
        keep = self._unique(lines, labels, score * length)
        # among those that are not kept an order too: equal keys may come in any
        order = torch.where(keep, 1 + score, score).topk(self.num_seeds, dim=1).indices
        score = (score * keep).gather(1, order)
        lines = lines.gather(1, order[..., None, None].expand_as(lines))
        return lines, labels.gather(1, order), score

    def _seeds(self, fields: Tensor, prob: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Places (B, M, 2) on lines, their classes, and whether they are likely enough."""
        best = F.max_pool2d(prob, self.spread, stride=1, padding=self.spread // 2)
        score, index = (prob * (prob == best)).flatten(1).topk(self.num_seeds, dim=1)
        cells = prob.shape[2] * prob.shape[3]
        labels = torch.div(index, cells, rounding_mode='floor')
        start = self.grid.centers(prob.device).flatten(0, 1)[index % cells]
        start = start + read_class(self.grid, fields, start, labels)[..., :2]
        return start, labels, score > self.min_prob

    def _walk(
        self, fields: Tensor, start: Tensor, heading: Tensor, labels: Tensor, alive: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Points (B, M, S, 2) of the walks, which of them count (B, M, S), and which walks (B, M) are rings."""
        low, high = start.new_tensor(self.grid.range_m).view(2, 2)
        here, points, kept = start, [start], [alive]
        ring = torch.zeros_like(alive)
        for step in range(self.num_steps):
            there = here + self.step_m * heading
            read = read_class(self.grid, fields, there, labels)
            pull = read[..., :2]
            there = there + pull / (pull.norm(dim=-1, keepdim=True) / self.step_m).clamp(min=1)
            tangent = halved_angle(read[..., 2:4])
            sign = torch.where((tangent * heading).sum(-1, keepdim=True) < 0, -1.0, 1.0)
            ahead = F.normalize(F.normalize(there - here, dim=-1) + sign * tangent, dim=-1)
            inside = ((there > low) & (there < high)).all(-1)
            alive = alive & (read[..., 4] > self.min_prob) & inside
            closes = torch.zeros_like(alive)
            if step > 5:
                # a ring ends where it began
                closes = alive & ((there - start).norm(dim=-1) < 0.8 * self.step_m)
                there = torch.where(closes.unsqueeze(-1), start, there)
            here = torch.where(alive.unsqueeze(-1), there, here)
            heading = torch.where(alive.unsqueeze(-1), ahead, heading)
            points.append(here)
            kept.append(alive)
            ring, alive = ring | closes, alive & ~closes
        return torch.stack(points, dim=2), torch.stack(kept, dim=2), ring

    def _unique(self, lines: Tensor, labels: Tensor, evidence: Tensor) -> Tensor:
        """Boolean (B, M), the lines to keep: those that no line of their class with more evidence covers."""
        covered = (gaps_sq_m2(lines) < self.cover_m**2).float().mean(2) > 0.6
        covered = covered & (labels[:, :, None] == labels[:, None])
        mine, other = evidence[:, :, None], evidence[:, None]
        index = torch.arange(lines.shape[1], device=lines.device)
        better = (other > mine) | ((other == mine) & (index < index[:, None]))
        return first_of_each(covered & better, evidence > 0)
