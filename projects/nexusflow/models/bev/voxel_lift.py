# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Camera features to BEV by pulling: every voxel reads the pixels it projects to (Simple-BEV, Harley et al., 2023)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet3d.registry import MODELS
from torch import Tensor, nn

from .grid import BEVGrid


def project_points(
    points_m: Tensor, lidar2img: Tensor, img_shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Project lidar-frame points into cameras, in float32 whatever autocast says.

    Args:
        points_m: (V, 3) points, lidar frame.
        lidar2img: (M, 4, 4) projections to pixels of the input image.
        img_shape: (height, width) of the input image in pixels.

    Returns:
        Coordinates in [-1, 1] for grid_sample, (M, V, 2), and whether the camera sees the point, (M, V).
    """
    with torch.autocast(points_m.device.type, enabled=False):
        lidar2img = lidar2img.float()
        # rows of all points, not points of three: several times faster on a CPU
        cam = lidar2img[:, :3, :3] @ points_m.float().T + lidar2img[:, :3, 3:]
        depth = cam[:, 2]
        scale = 2 / depth.clamp(min=1e-3)
        x, y = cam[:, 0] * scale / img_shape[1] - 1, cam[:, 1] * scale / img_shape[0] - 1
        seen = (depth > 0.1) & (x.abs() < 1) & (y.abs() < 1)
    return torch.stack([x, y], dim=-1), seen


def read_cameras(
    maps: Tensor,
    points_m: Tensor,
    lidar2img: Tensor,
    img_shape: tuple[int, int],
    max_cameras: int,
) -> tuple[Tensor, Tensor]:
    """Read points in the cameras that see them: the mean over the first of these.

    Args:
        maps: (B, N, C, h, w), a map a camera.
        points_m: (V, 3) lidar frame.
        lidar2img: (B, N, 4, 4).
        img_shape: (height, width) of the images that ``lidar2img`` projects into.
        max_cameras: Cameras read for a point.

    Returns:
        Values (B, C, V), zero where no camera sees the point; whether one does, (B, V).
    """
    batch, cams, channels, height, width = maps.shape
    uv, seen = project_points(points_m, lidar2img.flatten(0, 1), img_shape)
    uv, seen = uv.unflatten(0, (batch, cams)), seen.unflatten(0, (batch, cams))
    # the cameras' maps side by side are one wide image ("atlas"), so each point reads only its own cameras
    atlas = maps.permute(0, 2, 3, 1, 4).reshape(batch, channels, height, cams * width)
    # the seeing cameras first, in camera order
    rank = seen * torch.arange(cams, 0, -1, device=seen.device).view(-1, 1)
    order = rank.topk(min(max_cameras, cams), dim=1).indices
    picked = seen.gather(1, order)
    uv = uv.gather(1, order.unsqueeze(-1).expand(-1, -1, -1, 2))
    # keep half a pixel from the seams: bilinear reads must not mix neighbouring cameras
    x = ((uv[..., 0] + 1) / 2).clamp(0.5 / width, 1 - 0.5 / width)
    uv = torch.stack([(x + order) / cams * 2 - 1, uv[..., 1]], dim=-1)
    # in half precision a place could be off by a pixel: the values follow the places
    sampled = F.grid_sample(atlas.to(uv.dtype), uv, padding_mode='border', align_corners=False)
    weight = picked / picked.sum(1, keepdim=True).clamp(min=1)
    return (sampled * weight.unsqueeze(1)).sum(2).to(maps.dtype), picked.any(1)


def ray_channels(grid: BEVGrid) -> Tensor:
    """Where a cell lies seen from the ego: (4, H, W) x, y (scaled by 50 m), sine and cosine of the bearing."""
    xy = grid.centers().permute(2, 0, 1)
    radius = xy.norm(dim=0, keepdim=True).clamp(min=1e-3)
    return torch.cat([xy / 50.0, xy / radius])


@MODELS.register_module()
class NexusVoxelLift(nn.Module):
    """Sample image features at voxel centres, average over the cameras that see them, collapse the heights.

    Only voxel-camera pairs in view are sampled, at most ``max_cameras`` cameras a voxel (adjacent cameras
    overlap, so two hold all of a six-camera rig's views).

    Args:
        in_channels: Channels of the image feature map.
        out_channels: Channels of the BEV.
        grid: Arguments of :class:`BEVGrid`.
        heights_m: Voxel heights, z of the lidar frame (the road is near -1.84).
        kernel_size: Of the convolution that collapses the heights.
        max_cameras: Cameras sampled for a voxel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: dict,
        heights_m: tuple[float, ...] = (-1.84, -1.0, 0.0, 1.0),
        kernel_size: int = 1,
        max_cameras: int = 2,
    ) -> None:
        super().__init__()
        self.grid = BEVGrid(**grid)
        self.max_cameras = max_cameras
        xy = self.grid.centers()
        heights = torch.tensor(heights_m).view(-1, 1, 1, 1).expand(-1, *self.grid.shape, 1)
        voxels = torch.cat([xy.expand(len(heights_m), *xy.shape), heights], dim=-1)
        self.register_buffer('voxels', voxels.reshape(-1, 3), persistent=False)
        self.register_buffer('rays', ray_channels(self.grid), persistent=False)
        self.collapse = nn.Sequential(
            nn.Conv2d(
                in_channels * len(heights_m) + 4,
                out_channels,
                kernel_size,
                padding=kernel_size // 2,
                bias=False,
            ),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(
        self, feats: Tensor, lidar2img: Tensor, img2lidar: Tensor, img_shape: tuple[int, int]
    ) -> Tensor:
        """Lift a batch of rigs.

        Args:
            feats: (B, N, C, h, w) image features.
            lidar2img: (B, N, 4, 4).
            img2lidar: (B, N, 4, 4), its inverse; not read here (a pushing lift needs it).
            img_shape: (height, width) of the input images.

        Returns:
            (B, out_channels, H, W) BEV.
        """
        volume, _ = read_cameras(feats, self.voxels, lidar2img, img_shape, self.max_cameras)
        volume = volume.reshape(len(feats), -1, *self.grid.shape)
        rays = self.rays.to(volume.dtype).expand(len(feats), -1, -1, -1)
        return self.collapse(torch.cat([volume, rays], dim=1))
