# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Temporal fusion: the previous BEV, warped by ego motion, beside the current one (BEVDet4D, Huang and Huang, 2022)."""

from __future__ import annotations

import torch
from mmdet3d.registry import MODELS
from torch import Tensor, nn

from .grid import BEVGrid


def warp_bev(prev_bev: Tensor, curr2prev: Tensor, grid: BEVGrid) -> Tensor:
    """Bring a BEV into another pose's frame; what was out of view is zero.

    Places are computed in float32 whatever autocast says.

    Args:
        prev_bev: (B, C, H, W) on ``grid`` in the earlier lidar frame.
        curr2prev: (B, 4, 4) from the current to the earlier lidar frame.
        grid: The BEV's grid.

    Returns:
        (B, C, H, W) in the current lidar frame.
    """
    xy = grid.centers(curr2prev.device)
    rotation, shift = curr2prev[:, :2, :2].float(), curr2prev[:, :2, 3].float()
    with torch.autocast(curr2prev.device.type, enabled=False):
        moved = torch.einsum('bij,hwj->bhwi', rotation, xy) + shift[:, None, None]
    return grid.sample(prev_bev, moved)


@MODELS.register_module()
class NexusTemporalFusion(nn.Module):
    """Concatenate current and warped previous BEV and mix them, as a residual on the current one.

    The previous BEV is detached: a clip costs no second backward pass through the camera backbone.

    Args:
        channels: Channels of the BEV.
        grid: Arguments of :class:`BEVGrid`.
        kernel_size: Of the mixing convolution.
    """

    def __init__(self, channels: int, grid: dict, kernel_size: int = 3) -> None:
        super().__init__()
        self.grid = BEVGrid(**grid)
        self.mix = nn.Sequential(
            nn.Conv2d(2 * channels, channels, kernel_size, padding=kernel_size // 2, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, bev: Tensor, prev_bev: Tensor, curr2prev: Tensor, has_prev: Tensor) -> Tensor:
        """Fuse.

        Args:
            bev: (B, C, H, W) current.
            prev_bev: (B, C, H, W) previous, in its own lidar frame.
            curr2prev: (B, 4, 4) from the current to the previous lidar frame.
            has_prev: (B,) whether there is a previous frame; without one its part is zero.

        Returns:
            (B, C, H, W).
        """
        warped = warp_bev(prev_bev.detach(), curr2prev, self.grid)
        warped = warped * has_prev.view(-1, 1, 1, 1).to(warped.dtype)
        return bev + self.mix(torch.cat([bev, warped], dim=1))
