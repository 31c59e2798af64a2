# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The rectangle around a pose from which map lines are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry.base import BaseGeometry

from nexusflow.geometry.frames import heading_yaw

NDArrayFloat = NDArray[np.float64]


@dataclass(frozen=True)
class Patch:
    """A rectangle along the axes of the lidar frame, seen from above.

    The patch is turned by the yaw of the pose; height, roll and pitch are ignored, as in MapTR.

    Attributes:
        origin: (2,) the lidar's place, global frame, metres.
        turn: (2, 2) rotation from the lidar frame to the global frame.
        low: (2,) lower left corner, lidar frame, metres.
        high: (2,) upper right corner, lidar frame, metres.
    """

    origin: NDArrayFloat
    turn: NDArrayFloat
    low: NDArrayFloat
    high: NDArrayFloat

    @classmethod
    def around(cls, lidar2global: ArrayLike, range_m: Sequence[float]) -> Patch:
        """Patch of a pose.

        Args:
            lidar2global: (4, 4) pose of the lidar.
            range_m: (x_min, y_min, x_max, y_max), lidar frame, metres.

        Raises:
            ValueError: The range is empty.
        """
        pose = np.asarray(lidar2global, dtype=np.float64)
        low, high = np.asarray(range_m, dtype=np.float64).reshape(2, 2)
        if not (low < high).all():
            raise ValueError(
                f'range_m {tuple(range_m)} is empty; give (x_min, y_min, x_max, y_max)'
            )
        yaw = float(heading_yaw(pose))
        turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        return cls(pose[:2, 3], turn, low, high)

    def grown(self, margin_m: float) -> Patch:
        """The patch with all its sides moved outwards (inwards for a negative margin)."""
        return replace(self, low=self.low - margin_m, high=self.high + margin_m)

    def to_local(self, xy: NDArrayFloat) -> NDArrayFloat:
        """(N, 2) points from the global to the lidar frame."""
        d = xy - self.origin
        return np.asarray(d[:, :1] * self.turn[0] + d[:, 1:] * self.turn[1])

    def to_global(self, xy: NDArrayFloat) -> NDArrayFloat:
        """(N, 2) points from the lidar to the global frame."""
        return np.asarray(xy @ self.turn.T + self.origin)

    @cached_property
    def rectangle(self) -> BaseGeometry:
        """The patch as a polygon, lidar frame."""
        return shapely.box(*self.low, *self.high)

    @cached_property
    def footprint(self) -> BaseGeometry:
        """The patch as a polygon, global frame."""
        (x0, y0), (x1, y1) = self.low, self.high
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        return shapely.polygons(self.to_global(corners))
