# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Single-level deformable attention on a BEV map in pure torch (Deformable DETR, Zhu et al., 2021, eq. 2)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .grid import BEVGrid


class DeformableAttention(nn.Module):
    """Every query reads a few points of the BEV around its own reference point.

    With the same weights it gives what mmcv's MultiScaleDeformableAttention gives for one level, without an operator
    of its own, so that it runs, trains and exports wherever grid_sample does. Offsets are in cells.

    Args:
        channels: Channels of queries and of the BEV.
        grid: The BEV's grid.
        num_heads: Attention heads.
        num_points: Points a head.
    """

    def __init__(
        self, channels: int, grid: BEVGrid, num_heads: int = 4, num_points: int = 4
    ) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f'channels {channels} must be a multiple of num_heads {num_heads}')
        self.grid, self.num_heads, self.num_points = grid, num_heads, num_points
        self.offsets = nn.Linear(channels, num_heads * num_points * 2)
        self.weights = nn.Linear(channels, num_heads * num_points)
        self.value = nn.Conv2d(channels, channels, 1)
        self.output = nn.Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with each head looking its own way, point k at distance k cells, all weights equal."""
        angle = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        direction = torch.stack([angle.cos(), angle.sin()], dim=-1)[:, None]
        ring = direction * torch.arange(1, self.num_points + 1)[None, :, None]
        with torch.no_grad():
            self.offsets.weight.zero_()
            self.offsets.bias.copy_(ring.flatten())
            self.weights.weight.zero_()
            self.weights.bias.zero_()

    def forward(self, query: Tensor, ref_m: Tensor, bev: Tensor) -> Tensor:
        """Attend.

        Args:
            query: (B, Q, C), position encoding included.
            ref_m: (B, Q, 2) reference points, lidar frame.
            bev: (B, C, H, W).

        Returns:
            (B, Q, C).
        """
        batch, num_queries, channels = query.shape
        heads, points = self.num_heads, self.num_points
        offsets = self.offsets(query).view(batch, num_queries, heads, points, 2) * self.grid.cell_m
        loc = self.grid.normalise(ref_m[:, :, None, None] + offsets)
        loc = loc.permute(0, 2, 1, 3, 4).flatten(0, 1)
        weights = self.weights(query).view(batch, num_queries, heads, points).softmax(-1)
        weights = weights.permute(0, 2, 1, 3).reshape(batch * heads, 1, num_queries, points)
        value = self.value(bev).reshape(batch * heads, channels // heads, *bev.shape[2:])
        # in half precision a place could be off by tenths of a metre: the values follow the places
        sampled = F.grid_sample(value.to(loc.dtype), loc, align_corners=False)
        out = (sampled * weights).sum(-1).view(batch, channels, num_queries)
        return self.output(out.transpose(1, 2).to(query.dtype))
