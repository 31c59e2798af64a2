# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Windows on the ground, and convex shapes drawn into pictures with a fraction of a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from nexusflow.world.scene import NDArrayFloat

UInt8Image = NDArray[np.uint8]
#: Fractional bits of the coordinates given to OpenCV's drawing.
SHIFT: Final = 4


def fixed_point(points: NDArrayFloat) -> NDArray[np.int32]:
    """Coordinates (integer at pixel centres) with ``SHIFT`` fractional bits, for OpenCV's drawing."""
    return np.asarray(np.round(points * (1 << SHIFT)), dtype=np.int32)


def fill_convex(image: UInt8Image, outlines: Sequence[NDArray[np.int32]], value: int) -> None:
    """Fills convex outlines of a one-channel picture.

    Args:
        image: (H, W) picture.
        outlines: Outlines, (P, 2) each, from ``fixed_point``.
        value: Of the pixels.
    """
    for points in outlines:
        cv2.fillConvexPoly(image, points, (value,), cv2.LINE_8, SHIFT)


def footprints(xy_m: NDArrayFloat, yaw_rad: NDArrayFloat, size_m: NDArrayFloat) -> NDArrayFloat:
    """Corners of rectangles on the ground, counter-clockwise from the front left.

    Args:
        xy_m: (N, 2) middles.
        yaw_rad: (N,) directions of the lengths.
        size_m: (N, 2) lengths and widths; or (2,) for all.

    Returns:
        (N, 4, 2)
    """
    half = np.array([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]])
    x, y = np.moveaxis(half * size_m.reshape(-1, 1, 2), 2, 0)
    cos, sin = np.cos(yaw_rad)[:, None], np.sin(yaw_rad)[:, None]
    corners = np.stack([cos * x - sin * y, sin * x + cos * y], axis=2)
    return np.asarray(corners + xy_m[:, None])


@dataclass(frozen=True)
class Window:
    """An axis-aligned part of the ground and the raster that shows it: row 0 is the lowest y.

    Attributes:
        x_m: Left edge, global frame.
        y_m: Lower edge, global frame.
        columns: Pixels along x.
        rows: Pixels along y.
        resolution_m: Size of a pixel.
    """

    x_m: float
    y_m: float
    columns: int
    rows: int
    resolution_m: float

    @classmethod
    def around(cls, xy_m: NDArrayFloat, margin_m: float, resolution_m: float) -> Window:
        """The window that holds points with a margin.

        Args:
            xy_m: (N, 2) points, global frame, metres.
            margin_m: Space around them, metres.
            resolution_m: Size of a pixel, metres.

        Returns:
            The window; its sides are multiples of 8 pixels.
        """
        low = np.floor((xy_m.min(axis=0) - margin_m) / resolution_m / 8) * 8
        size = np.ceil((xy_m.max(axis=0) + margin_m) / resolution_m / 8) * 8 - low
        return cls(
            low[0] * resolution_m, low[1] * resolution_m, int(size[0]), int(size[1]), resolution_m
        )

    @property
    def bounds_m(self) -> tuple[float, float, float, float]:
        """Lowest x, lowest y, highest x, highest y; metres."""
        return (
            self.x_m,
            self.y_m,
            self.x_m + self.columns * self.resolution_m,
            self.y_m + self.rows * self.resolution_m,
        )

    def to_pixels(self, xy_m: NDArrayFloat) -> NDArray[np.int32]:
        """(..., 2) pixel-centre coordinates with ``SHIFT`` fractional bits, for OpenCV's drawing."""
        return fixed_point((xy_m - (self.x_m, self.y_m)) / self.resolution_m - 0.5)

    def halved(self) -> Window:
        """The same ground at half the resolution."""
        return Window(self.x_m, self.y_m, self.columns // 2, self.rows // 2, self.resolution_m * 2)
