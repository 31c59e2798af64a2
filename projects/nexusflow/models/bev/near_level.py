# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A second, finer level of the shared BEV: the road around the vehicle, read straight from the pixels.

Markings are thinner than the cells of a grid that covers the whole range, and near the vehicle a road is close to flat:
every cell reads the image where the plane projects to (inverse perspective mapping, Mallot et al., 1991).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet.models.backbones.resnet import BasicBlock
from mmdet3d.registry import MODELS
from torch import Tensor, nn

from .grid import BEVGrid
from .temporal import NexusTemporalFusion
from .voxel_lift import read_cameras


@MODELS.register_module()
class NexusNearLevel(nn.Module):
    """Pixels and image features on the road plane, fused over time, and added to the far level where it reaches.

    Args:
        in_channels: Channels of the image feature map.
        channels: Channels of both levels.
        far_grid: Arguments of the far level's :class:`BEVGrid`.
        grid: Arguments of the near level's; pixels are read at twice its resolution.
        ground_m: z of the road in the lidar frame.
        num_blocks: Residual blocks.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        far_grid: dict,
        grid: dict,
        ground_m: float = -1.84,
        num_blocks: int = 1,
    ) -> None:
        super().__init__()
        self.grid = BEVGrid(**grid)
        fine = BEVGrid(self.grid.range_m, self.grid.cell_m / 2)
        self.fine_shape = fine.shape
        self.register_buffer('spots', on_plane(self.grid, ground_m), persistent=False)
        self.register_buffer('fine_spots', on_plane(fine, ground_m), persistent=False)
        far_m = BEVGrid(**far_grid).centers().unsqueeze(0)
        self.register_buffer('far_m', far_m, persistent=False)
        half = channels // 2
        self.stem = nn.Sequential(*conv_block(4, half, 1), *conv_block(half, channels, 2))
        self.from_features = nn.Conv2d(in_channels, channels, 1)
        self.blocks = nn.Sequential(*[BasicBlock(channels, channels) for _ in range(num_blocks)])
        self.temporal = NexusTemporalFusion(channels, grid, kernel_size=1)
        # pixels teach in the first steps; what young features add must grow from little
        nn.init.normal_(self.from_features.weight, std=1e-3)
        nn.init.zeros_(self.from_features.bias)

    def forward(self, images: Tensor, feats: Tensor, lidar2img: Tensor) -> Tensor:
        """Lift a batch of rigs, each frame by itself.

        Args:
            images: (B, N, 3, H, W) normalised images.
            feats: (B, N, C, h, w) image features.
            lidar2img: (B, N, 4, 4).

        Returns:
            (B, channels, rows, cols) on the near grid.
        """
        shape = tuple(images.shape[-2:])
        pixels, seen = read_cameras(images, self.fine_spots, lidar2img, shape, 1)
        pixels = torch.cat([pixels, seen.unsqueeze(1).to(pixels.dtype)], dim=1)
        features, _ = read_cameras(feats, self.spots, lidar2img, shape, 1)
        # channels last, as the images: see the detector
        pixels = pixels.unflatten(2, self.fine_shape).contiguous(memory_format=torch.channels_last)
        near = self.stem(pixels)
        return self.blocks(near + self.from_features(features.unflatten(2, self.grid.shape)))

    def add_to(self, far: Tensor, near: Tensor) -> Tensor:
        """The far level (B, C, H, W) plus the near one (B, C, h, w) where it reaches."""
        return far + self.grid.sample(near, self.far_m.expand(len(near), -1, -1, -1))


def on_plane(grid: BEVGrid, z_m: float) -> Tensor:
    """Cell centres of a grid at a height, (H * W, 3)."""
    return F.pad(grid.centers().flatten(0, 1), (0, 1), value=z_m)


def conv_block(in_channels: int, channels: int, stride: int) -> tuple[nn.Module, ...]:
    """3x3 convolution, normalisation, ReLU."""
    return (
        nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )
