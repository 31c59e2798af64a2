# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""How many returns a spinning lidar is expected to give from a box."""

from __future__ import annotations

from typing import Final

import numpy as np

from nexusflow.world.scene import NDArrayFloat, NDArrayInt

#: nuScenes' LIDAR_TOP: 32 beams from -30.67 to 10.67 degrees, 1080 columns a turn.
_ELEVATION_RAD: Final = (np.deg2rad(-30.67), np.deg2rad(10.67))
_BEAMS_PER_RAD: Final = 31 / (_ELEVATION_RAD[1] - _ELEVATION_RAD[0])
_COLUMNS_PER_RAD: Final = 1080 / (2 * np.pi)
#: Share of the beams on the box's outline that come back from the object.
_RETURN_SHARE: Final = 0.7


def expected_lidar_points(corners_m: NDArrayFloat, visible_fraction: NDArrayFloat) -> NDArrayInt:
    """Expected number of returns: solid angle of each box, times density of beams, times what is visible.

    Args:
        corners_m: (N, 8, 3) corners of the boxes, seen from the lidar (its position is the origin, z is up).
        visible_fraction: (N,) in [0, 1].

    Returns:
        (N,) whole numbers.
    """
    if not len(corners_m):
        return np.zeros(0, dtype=np.int64)
    center = corners_m.mean(axis=1)
    azimuth = np.arctan2(corners_m[..., 1], corners_m[..., 0])
    azimuth = azimuth - np.arctan2(center[:, 1], center[:, 0])[:, None]
    azimuth = (azimuth + np.pi) % (2 * np.pi) - np.pi
    elevation = np.arctan2(corners_m[..., 2], np.linalg.norm(corners_m[..., :2], axis=-1))
    elevation = np.clip(elevation, *_ELEVATION_RAD)
    beams = np.ptp(azimuth, axis=1) * _COLUMNS_PER_RAD * np.ptp(elevation, axis=1) * _BEAMS_PER_RAD
    return np.asarray(np.floor(beams * _RETURN_SHARE * visible_fraction + 0.5), dtype=np.int64)
