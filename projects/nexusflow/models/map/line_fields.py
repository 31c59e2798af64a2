# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Dense fields around map lines: the way to the nearest point of a line, and the line's direction there.

The offset is the attraction field of Xue et al. (2019); the direction is a doubled angle, since a line has no sign.
They are trained at random spots near the lines, where a search along them will read them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..bev.grid import BEVGrid
from .targets import MapTargets


def nearest_on_lines(
    points_m: Tensor, labels: Tensor, targets: MapTargets
) -> tuple[Tensor, Tensor]:
    """Nearest point on the lines of a point's class.

    Args:
        points_m: (B, M, 2).
        labels: (B, M) classes; where a sample has no line of the class the result means nothing.
        targets: Ground truth.

    Returns:
        (B, M, 2) points, and (B, M, 2) the edges on which they lie, not normalised.
    """
    pts = targets.orders_m[:, :, 0]
    start, edge = (x.flatten(1, 2).unsqueeze(1) for x in (pts[:, :, :-1], pts.diff(dim=2)))
    mine = (labels.unsqueeze(-1) == targets.labels.unsqueeze(1)) & targets.valid.unsqueeze(1)
    mine = mine.repeat_interleave(pts.shape[2] - 1, dim=2)
    share = ((points_m.unsqueeze(2) - start) * edge).sum(-1) / edge.square().sum(-1).clamp(min=1e-6)
    on_edge = start + share.clamp(0, 1).unsqueeze(-1) * edge
    gap = (points_m.unsqueeze(2) - on_edge).norm(dim=-1).masked_fill(~mine, torch.inf)
    index = gap.argmin(-1)[..., None, None].expand(-1, -1, 1, 2)
    edges = edge.expand(-1, points_m.shape[1], -1, -1).gather(2, index)
    return on_edge.gather(2, index)[:, :, 0], edges[:, :, 0]


def read_class(grid: BEVGrid, field: Tensor, points_m: Tensor, labels: Tensor) -> Tensor:
    """A field (B, L, F, h, w) at points (B, M, 2) of classes (B, M): (B, M, F)."""
    read = grid.sample(field.flatten(1, 2), points_m).unflatten(1, field.shape[1:3])
    index = labels[:, None, None].expand(-1, 1, read.shape[2], -1)
    return read.gather(1, index)[:, 0].transpose(1, 2)


def doubled_angle(vectors: Tensor) -> Tensor:
    """Cosine and sine of twice the angle of vectors (..., 2).

    Example:
        >>> doubled_angle(torch.tensor([[0.0, -3.0]])).round().tolist()
        [[-1.0, 0.0]]
    """
    angle = 2 * torch.atan2(vectors[..., 1], vectors[..., 0])
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def halved_angle(doubled: Tensor) -> Tensor:
    """One of the two unit vectors whose doubled angle (..., 2) this is."""
    angle = torch.atan2(doubled[..., 1], doubled[..., 0]) / 2
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


class LineFieldLoss(nn.Module):
    """L1 of both fields at random spots near the lines.

    Args:
        grid: Grid of the fields.
        spots: Spots an element.
        spread_m: Standard deviation of a spot's distance to its line.
    """

    def __init__(self, grid: BEVGrid, spots: int = 40, spread_m: float = 1.0) -> None:
        super().__init__()
        self.grid, self.spots, self.spread_m = grid, spots, spread_m

    def forward(self, maps: dict[str, Tensor], targets: MapTargets) -> tuple[Tensor, Tensor]:
        """Compute.

        Args:
            maps: 'offset' in metres and 'tangent', each (B, L, 2, h, w).
            targets: Ground truth.

        Returns:
            Sums over the elements of each sample of the mean error at their spots, each (B,): of the offset in
            metres, of the doubled angle.
        """
        near = self._near(targets)
        labels = targets.labels.unsqueeze(-1).expand(-1, -1, self.spots).flatten(1)
        goal, edge = nearest_on_lines(near, labels, targets)
        valid = targets.valid.unsqueeze(-1).expand(-1, -1, self.spots).flatten(1)
        sums = []
        for name, aim in (('offset', goal - near), ('tangent', doubled_angle(edge))):
            read = read_class(self.grid, maps[name].float(), near, labels)
            # what is read for an empty slot means nothing, and may be infinite
            error = torch.where(valid, (read - aim).abs().sum(-1), 0.0)
            sums.append(error.sum(1) / self.spots)
        return sums[0], sums[1]

    def _near(self, targets: MapTargets) -> Tensor:
        """Random spots (B, K * S, 2) around the elements."""
        pts = targets.orders_m[:, :, 0]
        batch, slots, num = pts.shape[:3]
        place = torch.rand(batch, slots, self.spots, device=pts.device) * (num - 1)
        left = place.long().clamp(max=num - 2)
        low, high = (
            pts.gather(2, index.unsqueeze(-1).expand(-1, -1, -1, 2)) for index in (left, left + 1)
        )
        on_line = torch.lerp(low, high, (place - left).unsqueeze(-1))
        return (on_line + self.spread_m * torch.randn_like(on_line)).flatten(1, 2)
