# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Where detect queries come from: peaks of a centre heatmap, or learned 3D reference points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..bev.grid import BEVGrid
from ..heatmap import prior_bias, top_peaks
from ..matching import match_batch
from .box_code import CODE_SIZE, LOG_LENGTH, XY
from .motion import MotionModel
from .queries import NEWBORN, PADDING, TrackQueries

# a car-sized box on the ground, facing forward, at rest
DEFAULT_CODE = (0.0, 0.0, 1.4, 0.6, -1.0, 0.4, 1.0, 0.0, 0.0, 0.0)
RARE = 0.01
# no box is so long that its centre is looked for further away, metres
MAX_REACH_M = 6.4


def newborn_queries(
    content: Tensor, code: Tensor, labels: Tensor, tracks: TrackQueries
) -> TrackQueries:
    """Queries (B, N) without a past, for the frame of some tracks."""
    batch, number, channels = content.shape
    memory_slots, num_classes = tracks.memory.shape[-2], tracks.class_log.shape[-1]
    nothing = labels.new_zeros(batch, number)
    return TrackQueries(
        content=content,
        code=code,
        ids=nothing + NEWBORN,
        labels=labels,
        scores=content.new_zeros(batch, number),
        missed=nothing,
        hits=nothing,
        memory=content.new_zeros(batch, number, memory_slots, channels),
        age=nothing,
        mean=code.new_zeros(batch, number, 4),
        cov=torch.eye(4, device=code.device).expand(batch, number, -1, -1),
        class_log=code.new_zeros(batch, number, num_classes),
        mass=code.new_zeros(batch, number, 2),
    )


class PeakQueries(nn.Module):
    """Newborns at the peaks of a centre heatmap (CenterPoint, Yin et al., 2021), which converges fast.

    A live track goes on from a peak too, if there is one of its class where it may be: what every frame has taught a
    dense map is a better start than what few clips have taught of motion (after MOTRv2, Zhang et al., 2023, whose
    queries are anchored on detections). Its identity stays in its id and content. The class of a query is that of its
    peak, and every query starts from the logits that the heatmap has at its place.

    Where a camera does not tell how far away the middle of a long vehicle is, the heatmap is a ridge along it, whose
    highest cell is a matter of chance. So a peak stands at the mean of its surroundings and not at a maximum
    (integral regression, Sun et al., 2018).

    Args:
        channels: Channels of the dense features and of the queries.
        grid: The head's grid.
        num_classes: Track classes.
        num: Detect queries a frame.
        motion: Where a live track may be.
        gap_m: Of two peaks of a class nearer than this, in steps of a cell, only the higher counts.
        reach: Surroundings of a peak, in lengths of the box predicted there and in steps of a cell, one at least.

    Attributes:
        keeps_class: Whether a query's class is decided before the decoder sees it, and is learnt as such.
    """

    keeps_class = True

    def __init__(
        self,
        channels: int,
        grid: BEVGrid,
        num_classes: int,
        num: int,
        motion: MotionModel,
        gap_m: float = 1.28,
        reach: float = 0.45,
    ) -> None:
        super().__init__()
        self.grid, self.num, self.motion, self.reach = grid, num, motion, reach
        self.window = 2 * max(round(gap_m / grid.cell_m), 1) + 1
        self.max_steps = max(round(MAX_REACH_M / grid.cell_m), 1)
        steps = torch.arange(-self.max_steps, self.max_steps + 1)
        self.register_buffer('around', torch.cartesian_prod(steps, steps), persistent=False)
        self.register_buffer('centers_m', grid.centers(), persistent=False)
        self.box = nn.Conv2d(channels, CODE_SIZE, 1)
        self.embed = nn.Linear(2 * channels + num_classes, channels)
        nn.init.normal_(self.box.weight, std=1e-3)
        with torch.no_grad():
            self.box.bias.copy_(torch.tensor(DEFAULT_CODE))

    def dense_forward(self, dense: Tensor) -> dict[str, Tensor]:
        """What does not depend on the tracks: 'dense_code' (B, h * w, 10), the box that each cell predicts."""
        code = self.box(dense).flatten(2).transpose(1, 2)
        code = torch.cat([code[..., XY] + self.centers_m.view(1, -1, 2), code[..., 2:]], dim=-1)
        return dict(dense_code=code)

    def forward(self, dense: dict, tracks: TrackQueries) -> tuple[TrackQueries, TrackQueries]:
        """Newborns (B, N), and the tracks (B, M), those with a peak of their own at its place.

        Args:
            dense: 'bev', 'dense' and 'heat' of the head, and what :meth:`dense_forward` returns.
            tracks: Live tracks (B, M), moved to this frame.

        Returns:
            Newborns, those whose peak a track has taken are padding; the tracks.
        """
        heat = dense['heat'].detach()
        scores, index, labels = top_peaks(heat.sigmoid(), self.num, self.window)
        both = torch.cat([dense['bev'], dense['dense'], heat], dim=1).flatten(2).transpose(1, 2)
        both = both.gather(1, index.unsqueeze(-1).expand(-1, -1, both.shape[-1]))
        boxes = dense['dense_code'].detach()
        code = boxes.gather(1, index.unsqueeze(-1).expand(-1, -1, CODE_SIZE))
        center = self._mean_center(heat, boxes[..., XY], index, labels, self._steps(code))
        code = torch.cat([center, code[..., 2:]], dim=-1)
        newborns = newborn_queries(self.embed(both), code, labels, tracks)
        sample, track, peak = self._take(tracks, newborns)
        content, code, ids = tracks.content.clone(), tracks.code.clone(), newborns.ids.clone()
        content[sample, track] += newborns.content[sample, peak]
        code[sample, track] = newborns.code[sample, peak]
        ids[sample, peak] = PADDING
        return replace(newborns, ids=ids), replace(tracks, content=content, code=code)

    def _steps(self, code: Tensor) -> Tensor:
        """Cells (B, N) to each side that tell where the boxes' centres are."""
        steps = (code[..., LOG_LENGTH].exp() * self.reach / self.grid.cell_m).round()
        return steps.clamp(1, self.max_steps)

    def _mean_center(
        self, heat: Tensor, centers_m: Tensor, index: Tensor, labels: Tensor, steps: Tensor
    ) -> Tensor:
        """Mean of the centres predicted around peaks, weighted by the square of their class's heat.

        Args:
            heat: (B, L, H, W) logits.
            centers_m: (B, H * W, 2) that each cell predicts.
            index: (B, N) flat cells of the peaks.
            labels: (B, N) classes of the peaks.
            steps: (B, N) cells to each side.

        Returns:
            (B, N, 2) lidar frame.
        """
        rows, cols = self.grid.shape
        cell = torch.stack([torch.div(index, cols, rounding_mode='floor'), index % cols], dim=-1)
        row, col = (cell.unsqueeze(2) + self.around).unbind(-1)
        counts = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
        counts &= self.around.abs().amax(-1) <= steps.unsqueeze(-1)
        flat = row.clamp(0, rows - 1) * cols + col.clamp(0, cols - 1)
        planes = F.logsigmoid(heat.float()).flatten(1)
        offset = labels.unsqueeze(-1) * (rows * cols)
        log_heat = planes.gather(1, (offset + flat).flatten(1)).view_as(flat)
        # against the peak's own: no low heat makes a division by zero, and a hotter object nearby weighs no more
        log_peak = planes.gather(1, offset.squeeze(-1) + index).unsqueeze(-1)
        weight = (2 * (log_heat - log_peak).clamp(max=0.0)).exp() * counts
        spots = flat.flatten(1).unsqueeze(-1).expand(-1, -1, 2)
        proposed_m = centers_m.gather(1, spots).view(*flat.shape, 2)
        mean_m = (proposed_m * weight.unsqueeze(-1)).sum(2) / weight.sum(2).unsqueeze(-1)
        return mean_m.to(centers_m.dtype)

    def prior(self, dense: dict, code: Tensor) -> Tensor:
        """Logits (B, Q, L) that the queries at ``code`` start from."""
        # outside the grid a sample is zero; a logit of zero would be a probability of one half
        nothing = prior_bias(RARE)
        heat = self.grid.sample(dense['heat'].detach() - nothing, code[..., XY])
        return heat.transpose(1, 2) + nothing

    @staticmethod
    def classes(labels: Tensor, logits: Tensor) -> Tensor:
        """Class (B, N) of the newborns after the decoder: still the peak's."""
        return labels

    def _take(self, tracks: TrackQueries, peaks: TrackQueries) -> tuple[Tensor, Tensor, Tensor]:
        """Which track goes on from which peak: sample, row and column."""
        away = self.motion.distance(tracks, peaks)
        same = (tracks.labels[:, :, None] == peaks.labels[:, None]) & tracks.valid[..., None]
        # no pair costs nothing: a track does not leave its peak for the sake of another track's
        cost, counts = away - self.motion.gate, [self.num] * len(away)
        return match_batch(cost, same & (cost < 0), counts, forbidden=0.0)


class LearnedQueries(nn.Module):
    """Newborns at learned 3D reference points with learned content (MUTR3D, Zhang et al., 2022).

    Args:
        channels: Channels of the queries.
        grid: The head's grid; reference points stay in its range.
        num_classes: Track classes.
        num: Detect queries a frame.
        motion: Not read: a track starts from where it is expected.
        z_range_m: Range of the reference points' height.

    Attributes:
        keeps_class: See :class:`PeakQueries`; here the decoder decides.
    """

    keeps_class = False

    def __init__(
        self,
        channels: int,
        grid: BEVGrid,
        num_classes: int,
        num: int,
        motion: MotionModel,
        z_range_m: Sequence[float] = (-5.0, 3.0),
    ) -> None:
        super().__init__()
        self.num, self.num_classes = num, num_classes
        low, high = grid.range_m[:2], grid.range_m[2:]
        self.register_buffer('low', torch.tensor([*low, z_range_m[0]]), persistent=False)
        self.register_buffer('high', torch.tensor([*high, z_range_m[1]]), persistent=False)
        # spread evenly over the range
        spread = torch.quasirandom.SobolEngine(3, scramble=True, seed=0).draw(num)
        self.reference = nn.Parameter(torch.logit(spread, eps=1e-3))
        self.content = nn.Parameter(torch.randn(num, channels))
        self.register_buffer('rest', torch.tensor(DEFAULT_CODE), persistent=False)

    def dense_forward(self, dense: Tensor) -> dict[str, Tensor]:
        """Nothing here depends on the BEV."""
        return {}

    def points_m(self) -> Tensor:
        """Reference points (N, 3), lidar frame."""
        return self.low + (self.high - self.low) * self.reference.sigmoid()

    def forward(self, dense: dict, tracks: TrackQueries) -> tuple[TrackQueries, TrackQueries]:
        """Newborns (B, N), the same for every sample, and the tracks; arguments as in :class:`PeakQueries`."""
        batch = len(tracks.ids)
        points = self.points_m()
        rest = self.rest.expand(self.num, -1)
        code = torch.cat([points[:, :2], rest[:, 2:4], points[:, 2:], rest[:, 5:]], dim=1)
        labels = torch.zeros(batch, self.num, dtype=torch.long, device=code.device)
        content = self.content.expand(batch, -1, -1)
        return newborn_queries(content, code.expand(batch, -1, -1), labels, tracks), tracks

    def prior(self, dense: dict, code: Tensor) -> Tensor:
        """Logits (B, Q, L) that the queries start from: every class is rare."""
        return code.new_full((*code.shape[:2], self.num_classes), prior_bias(RARE))

    @staticmethod
    def classes(labels: Tensor, logits: Tensor) -> Tensor:
        """Class (B, N) of the newborns after the decoder: the likeliest."""
        return logits.argmax(-1)


SOURCES = dict(peaks=PeakQueries, learned=LearnedQueries)
