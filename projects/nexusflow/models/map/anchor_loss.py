# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Losses of the anchors that map queries start from: where elements are, and what they look like from there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..bev.grid import BEVGrid
from ..heatmap import draw_centers, heatmap_focal_loss
from .targets import MapTargets


def middle_third(num_points: int) -> Tensor:
    """Indices of the middle third of a line's points, the middle first and then outwards.

    Example:
        >>> middle_third(9).tolist()
        [4, 3, 5]
    """
    steps = torch.arange(1, max(num_points // 6, 1) + 1)
    middle = num_points // 2
    return torch.cat(
        [torch.tensor([middle]), torch.stack([middle - steps, middle + steps], 1).flatten()]
    )


def ring_spots(count: int, radius_m: float = 0.75) -> Tensor:
    """The centre and spots on a circle around it: (count, 2) offsets in metres."""
    angle = torch.arange(count - 1) * (2 * torch.pi / max(count - 1, 1))
    circle = radius_m * torch.stack([angle.cos(), angle.sin()], dim=-1)
    return torch.cat([torch.zeros(1, 2), circle])


class AnchorLoss(nn.Module):
    """Losses of the anchor heatmap and of the elements that the cells offer.

    Args:
        grid: The head's grid.
        num_classes: Map classes.
        num_points: Points of an element.
        sigma_m: Width of an anchor's bump.
    """

    def __init__(self, grid: BEVGrid, num_classes: int, num_points: int, sigma_m: float) -> None:
        super().__init__()
        self.grid, self.num_classes, self.sigma_m = grid, num_classes, sigma_m
        middle = middle_third(num_points)
        self.register_buffer('middle', middle, persistent=False)
        self.register_buffer('around', ring_spots(len(middle)), persistent=False)
        # full height in the middle, falling off along the line: any spot near the middle is a fair anchor
        height = torch.exp(-0.5 * (torch.arange(len(middle)) / len(middle) * 2) ** 2)
        self.register_buffer('height', height, persistent=False)

    def spots_m(self, targets: MapTargets) -> Tensor:
        """Where elements are anchored, (B, K, S, 2): along a line's middle third, around a ring's centroid."""
        pts = targets.orders_m[:, :, 0]
        ring = pts[:, :, :-1].mean(2, keepdim=True) + self.around
        return torch.where(targets.closed[..., None, None], ring, pts[:, :, self.middle])

    def forward(self, maps: dict[str, Tensor], targets: MapTargets) -> tuple[Tensor, Tensor]:
        """Compute.

        Args:
            maps: 'heat' (B, L, h, w) logits and 'anchor_pts_m' (B, h * w, P, 2).
            targets: Ground truth.

        Returns:
            Sums over the elements of each sample, each (B,): focal loss of the heatmap; mean coordinate error in
            metres of the elements offered at the anchors' cells.
        """
        spots = self.spots_m(targets)
        batch, slots, num = spots.shape[:3]
        labels = targets.labels.unsqueeze(-1).expand(-1, -1, num)
        valid = targets.valid.unsqueeze(-1).expand(-1, -1, num)
        goal = draw_centers(
            spots.flatten(1, 2),
            labels.flatten(1),
            valid.flatten(1),
            self.grid,
            self.num_classes,
            self.sigma_m,
            self.height.repeat(slots),
        )
        cell, inside = self.grid.cell_of(spots)
        anchors = maps['anchor_pts_m'].flatten(2)
        index = cell.flatten(1).unsqueeze(-1).expand(-1, -1, anchors.shape[-1])
        picked = anchors.gather(1, index).view(batch, slots, num, 1, -1)
        aim = targets.orders_m.flatten(3).unsqueeze(2)
        error = (picked - aim).abs().mean(-1).min(-1).values
        points = (error * (valid & inside)).sum((1, 2)) / num
        return heatmap_focal_loss(maps['heat'].float(), goal), points
