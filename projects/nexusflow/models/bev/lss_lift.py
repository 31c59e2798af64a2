# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Camera features to BEV by pushing: a pixel spreads its feature over depths (LSS, Philion and Fidler, 2020)."""

from __future__ import annotations

import torch
from mmdet3d.registry import MODELS
from torch import Tensor, nn

from .grid import BEVGrid
from .voxel_lift import ray_channels


@MODELS.register_module()
class NexusLSSLift(nn.Module):
    """Predict a depth distribution a pixel, pool the weighted features into BEV cells with one index_add.

    Args:
        in_channels: Channels of the image feature map.
        out_channels: Channels of the BEV.
        grid: Arguments of :class:`BEVGrid`.
        depth_m: (first, last, step) of the depth bins along the camera axis.
        height_range_m: Points outside this z range of the lidar frame are dropped.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: dict,
        depth_m: tuple[float, float, float] = (1.0, 51.0, 1.25),
        height_range_m: tuple[float, float] = (-3.0, 3.0),
    ) -> None:
        super().__init__()
        self.grid = BEVGrid(**grid)
        self.height_range_m = height_range_m
        self.register_buffer('depths', torch.arange(*depth_m), persistent=False)
        self.register_buffer('rays', ray_channels(self.grid), persistent=False)
        self.out_channels = out_channels
        self.depth_and_feature = nn.Conv2d(in_channels, len(self.depths) + out_channels, 1)
        self.smooth = nn.Sequential(
            nn.Conv2d(out_channels + 4, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def frustum_points(
        self, img2lidar: Tensor, feat_hw: tuple[int, int], img_shape: tuple[int, int]
    ) -> Tensor:
        """Lidar-frame points of all (depth, row, column) of a feature map: (M, D, h, w, 3), metres."""
        height, width = feat_hw
        device = img2lidar.device
        v = (torch.arange(height, device=device) + 0.5) * img_shape[0] / height
        u = (torch.arange(width, device=device) + 0.5) * img_shape[1] / width
        depth, v, u = torch.meshgrid(self.depths, v, u, indexing='ij')
        pixels = torch.stack([u * depth, v * depth, depth], dim=-1)
        img2lidar = img2lidar.float()
        rotated = torch.einsum('mij,dhwj->mdhwi', img2lidar[:, :3, :3], pixels)
        return rotated + img2lidar[:, None, None, None, :3, 3]

    def forward(
        self, feats: Tensor, lidar2img: Tensor, img2lidar: Tensor, img_shape: tuple[int, int]
    ) -> Tensor:
        """Lift a batch of rigs; arguments and result as in :class:`NexusVoxelLift`."""
        batch, cams = feats.shape[:2]
        out = self.depth_and_feature(feats.flatten(0, 1))
        weight = out[:, : len(self.depths)].softmax(1)
        feature = out[:, len(self.depths) :]
        with torch.no_grad(), torch.autocast(feats.device.type, enabled=False):
            points = self.frustum_points(img2lidar.flatten(0, 1), feats.shape[-2:], img_shape)
            cell, inside = self.grid.cell_of(points[..., :2])
            inside &= (points[..., 2] >= self.height_range_m[0]) & (
                points[..., 2] < self.height_range_m[1]
            )
            cells = self.grid.shape[0] * self.grid.shape[1]
            sample = torch.arange(batch, device=feats.device).repeat_interleave(cams)
            cell = cell + sample.view(-1, 1, 1, 1) * cells
            m, d, y, x = inside.nonzero(as_tuple=True)
        values = feature[m, :, y, x] * weight[m, d, y, x].unsqueeze(-1)
        flat = values.new_zeros(batch * cells, self.out_channels)
        flat = flat.index_add(0, cell[m, d, y, x], values)
        bev = flat.view(batch, *self.grid.shape, -1).permute(0, 3, 1, 2)
        return self.smooth(
            torch.cat([bev, self.rays.to(bev.dtype).expand(batch, -1, -1, -1)], dim=1)
        )
