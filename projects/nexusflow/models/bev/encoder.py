# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A task's own part of the BEV: crop to the task's range and resolution, then residual blocks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet.models.backbones.resnet import BasicBlock
from torch import Tensor, nn

from .grid import BEVGrid


class BEVEncoder(nn.Module):
    """Sample the shared BEV on the task's grid and refine it, near and far.

    A lane runs through the whole range, so a cell has to know more than its neighbourhood: a second branch works at
    a quarter of the resolution, where a few blocks see everything at little cost.

    Args:
        channels: Channels in and out.
        source: Grid of the shared BEV.
        target: Grid of the task.
        num_blocks: Residual blocks of each branch.
    """

    def __init__(
        self, channels: int, source: BEVGrid, target: BEVGrid, num_blocks: int = 2
    ) -> None:
        super().__init__()
        self.source = source
        self.same = source.range_m == target.range_m and source.shape == target.shape
        self.register_buffer('centers_m', target.centers(), persistent=False)
        self.blocks = nn.Sequential(*[BasicBlock(channels, channels) for _ in range(num_blocks)])
        self.context = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 4, stride=4, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(inplace=True),
            *[BasicBlock(2 * channels, 2 * channels) for _ in range(num_blocks)],
            nn.Conv2d(2 * channels, channels, 1),
        )

    def forward(self, bev: Tensor) -> Tensor:
        """(B, C, H, W) on the source grid to (B, C, h, w) on the target grid."""
        if not self.same:
            xy = self.centers_m.expand(len(bev), -1, -1, -1)
            bev = self.source.sample(bev, xy)
        rows, cols = bev.shape[2:]
        whole = F.pad(bev, (0, -cols % 4, 0, -rows % 4))
        far = F.interpolate(self.context(whole), scale_factor=4.0, mode='bilinear')
        return self.blocks(bev + far[..., :rows, :cols])


def sine_encoding(
    xy_m: Tensor, channels: int, period_m: tuple[float, float] = (2.0, 200.0)
) -> Tensor:
    """Sinusoidal encoding of points: (..., 2) metres to (..., channels), periods spread between two lengths."""
    bands = channels // 4
    ratio = torch.linspace(0, 1, bands, device=xy_m.device)
    omega = 2 * torch.pi / (period_m[0] * (period_m[1] / period_m[0]) ** ratio)
    phase = (xy_m.unsqueeze(-1) * omega).flatten(-2)
    return torch.cat([phase.sin(), phase.cos()], dim=-1)
