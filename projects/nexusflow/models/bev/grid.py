# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A rectangular bird's-eye-view grid in the lidar frame, and sampling one grid from another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class BEVGrid:
    """Cells over a range of the lidar frame.

    A BEV feature map is (B, C, H, W): rows run along y (forward), columns along x (right), so that cell
    (0, 0) is the corner of smallest x and y.

    Args:
        range_m: (x_min, y_min, x_max, y_max), lidar frame.
        cell_m: Edge of a cell; the range must be a whole number of cells.

    Raises:
        ValueError: If the range is empty or not a whole number of cells.

    Example:
        >>> grid = BEVGrid((-15.0, -30.0, 15.0, 30.0), 0.5)
        >>> grid.shape
        (120, 60)
    """

    def __init__(self, range_m: tuple[float, float, float, float], cell_m: float) -> None:
        x_min, y_min, x_max, y_max = range_m
        width, height = (x_max - x_min) / cell_m, (y_max - y_min) / cell_m
        if (
            min(width, height) < 1
            or max(abs(width - round(width)), abs(height - round(height))) > 1e-3
        ):
            raise ValueError(
                f'BEV grid: range_m {tuple(range_m)} is not a whole number of cells of cell_m {cell_m}'
            )
        self.range_m = (x_min, y_min, x_max, y_max)
        self.cell_m = cell_m
        self.shape = (round(height), round(width))

    def centers(self, device: torch.device | None = None) -> Tensor:
        """Cell centres in metres, lidar frame, (H, W, 2) as (x, y); made on the device, not copied there."""
        rows, cols = (torch.arange(n, dtype=torch.float32, device=device) for n in self.shape)
        xs = self.range_m[0] + (cols + 0.5) * self.cell_m
        ys = self.range_m[1] + (rows + 0.5) * self.cell_m
        grid_y, grid_x = torch.meshgrid(ys, xs, indexing='ij')
        return torch.stack([grid_x, grid_y], dim=-1)

    def normalise(self, xy_m: Tensor) -> Tensor:
        """Metres (..., 2) to grid_sample's coordinates in [-1, 1] (align_corners=False)."""
        x_min, y_min, x_max, y_max = self.range_m
        x, y = xy_m.unbind(-1)
        # numbers, since a tensor of them would be copied to the device, which waits for it, at every call
        x, y = (x - x_min) / (x_max - x_min), (y - y_min) / (y_max - y_min)
        return torch.stack([x, y], dim=-1) * 2 - 1

    def sample(self, bev: Tensor, xy_m: Tensor) -> Tensor:
        """Read a map on this grid at points by bilinear interpolation; zero outside.

        Args:
            bev: (B, C, H, W).
            xy_m: (B, ..., 2) points, lidar frame.

        Returns:
            (B, C, ...) values, of the map's dtype.
        """
        points = self.normalise(xy_m).flatten(1, -2).unsqueeze(2)
        # in half precision a place could be off by tenths of a metre: the values follow the places
        read = F.grid_sample(bev.to(points.dtype), points, align_corners=False)
        return read.reshape(*bev.shape[:2], *xy_m.shape[1:-1]).to(bev.dtype)

    def resample(self, bev: Tensor, target: BEVGrid) -> Tensor:
        """Read a map (B, C, H, W) on this grid at the cells of another one; zero outside."""
        if (self.range_m, self.shape) == (target.range_m, target.shape):
            return bev
        return self.sample(bev, target.centers(bev.device).expand(len(bev), -1, -1, -1))

    def cell_of(self, xy_m: Tensor) -> tuple[Tensor, Tensor]:
        """Row and column of points (..., 2) and whether they lie inside.

        Returns:
            Flat cell index (clamped to the grid), and a mask, each (...).
        """
        rows, cols = self.shape
        col = torch.floor((xy_m[..., 0] - self.range_m[0]) / self.cell_m).long()
        row = torch.floor((xy_m[..., 1] - self.range_m[1]) / self.cell_m).long()
        inside = (col >= 0) & (col < cols) & (row >= 0) & (row < rows)
        return row.clamp(0, rows - 1) * cols + col.clamp(0, cols - 1), inside
