# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Boxes as arrays: x, y, z of the gravity centre, length, width, height, yaw.

Yaw is the angle of the length axis from +x, counter-clockwise (mmdet3d >= 1.0). nuScenes
annotates boxes that stand upright in the global frame, and takes velocities there as horizontal;
the lidar is tilted by its mounting and the car's pitch. The two directions of conversion here are
exact inverses of each other under that reading.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nexusflow.geometry.frames import invert_rigid, transform_points, wrap_angle

NDArrayFloat = NDArray[np.float64]

_CORNER_SIGNS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
CORNER_EDGES = (
    (0, 1),
    (1, 3),
    (3, 2),
    (2, 0),
    (4, 5),
    (5, 7),
    (7, 6),
    (6, 4),
    (0, 4),
    (1, 5),
    (2, 6),
    (3, 7),
)
"""Pairs of corner indices that make the twelve edges of a box."""


def box_corners(boxes: ArrayLike) -> NDArrayFloat:
    """The eight corners of each box.

    Args:
        boxes: (N, >=7) boxes.

    Returns:
        (N, 8, 3) corners; index = 4 * front + 2 * left + top, with 0 or 1 for each.
    """
    b = np.asarray(boxes, dtype=np.float64)
    local = _CORNER_SIGNS[None] * b[:, None, 3:6]
    cos, sin = np.cos(b[:, 6, None]), np.sin(b[:, 6, None])
    x = local[..., 0] * cos - local[..., 1] * sin
    y = local[..., 0] * sin + local[..., 1] * cos
    return np.asarray(np.stack([x, y, local[..., 2]], axis=-1) + b[:, None, :3])


def yaw_to_lidar(yaw: ArrayLike, lidar2global: ArrayLike) -> NDArrayFloat:
    """Yaw of boxes that stand upright in the global frame, as seen from above in the lidar frame.

    Args:
        yaw: (N,) yaw in the global frame, radians.
        lidar2global: (4, 4) or (N, 4, 4).

    Returns:
        (N,) yaw in the lidar frame, in [-pi, pi).
    """
    return _turn_yaw(yaw, _global2lidar_plane(lidar2global))


def yaw_to_global(yaw: ArrayLike, lidar2global: ArrayLike) -> NDArrayFloat:
    """Inverse of :func:`yaw_to_lidar`."""
    return _turn_yaw(yaw, np.linalg.inv(_global2lidar_plane(lidar2global)))


def velocity_to_lidar(velocity: ArrayLike, lidar2global: ArrayLike) -> NDArrayFloat:
    """Horizontal velocities of the global frame in the lidar frame.

    Args:
        velocity: (N, 2) m/s, global frame; NaN (unknown) stays NaN.
        lidar2global: (4, 4) or (N, 4, 4).

    Returns:
        (N, 2) m/s, lidar frame.
    """
    return _turn(_global2lidar_plane(lidar2global), velocity)


def velocity_to_global(velocity: ArrayLike, lidar2global: ArrayLike) -> NDArrayFloat:
    """Inverse of :func:`velocity_to_lidar`: the horizontal velocity with this lidar-frame view."""
    return _turn(np.linalg.inv(_global2lidar_plane(lidar2global)), velocity)


def boxes_to_lidar(boxes: ArrayLike, lidar2global: ArrayLike) -> NDArrayFloat:
    """Boxes from the global to the lidar frame.

    Args:
        boxes: (N, 7) boxes, global frame.
        lidar2global: (4, 4), or (N, 4, 4) with one pose per box.

    Returns:
        (N, 7) boxes, lidar frame.
    """
    b = np.asarray(boxes, dtype=np.float64)
    center = _move_centers(invert_rigid(lidar2global), b[:, :3])
    yaw = yaw_to_lidar(b[:, 6], lidar2global)
    return np.concatenate([center, b[:, 3:6], yaw[:, None]], axis=1)


def boxes_to_global(boxes: ArrayLike, lidar2global: ArrayLike) -> NDArrayFloat:
    """Inverse of :func:`boxes_to_lidar`."""
    b = np.asarray(boxes, dtype=np.float64)
    center = _move_centers(np.asarray(lidar2global, np.float64), b[:, :3])
    yaw = yaw_to_global(b[:, 6], lidar2global)
    return np.concatenate([center, b[:, 3:6], yaw[:, None]], axis=1)


def _global2lidar_plane(lidar2global: ArrayLike) -> NDArrayFloat:
    """(..., 2, 2): what a horizontal global vector looks like from above in the lidar frame."""
    m = np.asarray(lidar2global, dtype=np.float64)
    return np.swapaxes(m[..., :2, :2], -1, -2)


def _turn(plane: NDArrayFloat, vectors: ArrayLike) -> NDArrayFloat:
    """Apply (..., 2, 2) to (..., 2)."""
    return np.asarray(np.einsum('...ij,...j->...i', plane, np.asarray(vectors, np.float64)))


def _turn_yaw(yaw: ArrayLike, plane: NDArrayFloat) -> NDArrayFloat:
    """Yaw of the transformed heading."""
    a = np.asarray(yaw, dtype=np.float64)
    d = _turn(plane, np.stack([np.cos(a), np.sin(a)], axis=-1))
    return wrap_angle(np.arctan2(d[..., 1], d[..., 0]))


def _move_centers(a2b: NDArrayFloat, centers: NDArrayFloat) -> NDArrayFloat:
    """Transform (N, 3) by one matrix or by one per row."""
    if a2b.ndim == 2:
        return transform_points(a2b, centers)
    return transform_points(a2b, centers[:, None])[:, 0]
