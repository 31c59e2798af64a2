# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Map elements as masks on the head's grid: targets of the auxiliary BEV segmentation (MapTRv2, Liao et al., 2024)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..bev.grid import BEVGrid
from .targets import MapTargets


def line_masks(targets: MapTargets, grid: BEVGrid, num_classes: int) -> Tensor:
    """Masks (B, L, h, w): 1 on the cells that an element of the class passes through."""
    points = targets.orders_m[:, :, 0]
    longest = max(grid.range_m[2] - grid.range_m[0], grid.range_m[3] - grid.range_m[1])
    pieces = math.ceil(longest / (points.shape[2] - 1) / grid.cell_m) + 1
    step = torch.linspace(0, 1, pieces, device=points.device).view(-1, 1, 1, 1, 1)
    dense = torch.lerp(points[:, :, :-1], points[:, :, 1:], step)
    cell, inside = grid.cell_of(dense.permute(1, 2, 0, 3, 4).flatten(2, 3))
    inside = inside & targets.valid.unsqueeze(-1)
    rows, cols = grid.shape
    index = targets.labels.unsqueeze(-1) * (rows * cols) + cell
    masks = points.new_zeros(len(points), num_classes * rows * cols)
    masks = masks.scatter_reduce(
        1, index.flatten(1), inside.to(points.dtype).flatten(1), reduce='amax'
    )
    return masks.view(-1, num_classes, rows, cols)
