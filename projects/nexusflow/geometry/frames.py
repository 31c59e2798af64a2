# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Rigid transforms and camera projection.

A 4x4 matrix named ``a2b`` maps column vectors from frame a to frame b. Leading dimensions are
batch dimensions everywhere. Pixels: an image of width W covers u from 0 to W, so the first pixel's
centre is at 0.5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

NDArrayFloat = NDArray[np.float64]


def rotation_from_quaternion(wxyz: ArrayLike) -> NDArrayFloat:
    """Rotation matrices of unit quaternions (normalised here).

    Args:
        wxyz: (..., 4) quaternions, scalar first as in nuScenes.

    Returns:
        (..., 3, 3) rotation matrices.

    Example:
        >>> quarter_turn = rotation_from_quaternion([1, 0, 0, 1])
        >>> bool(np.allclose(quarter_turn, [[0, -1, 0], [1, 0, 0], [0, 0, 1]]))
        True
    """
    q = np.asarray(wxyz, dtype=np.float64)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def make_rigid(rotation: ArrayLike, translation: ArrayLike) -> NDArrayFloat:
    """Put a rotation and a translation into homogeneous matrices.

    Args:
        rotation: (..., 3, 3) rotation matrices.
        translation: (..., 3) translations, metres.

    Returns:
        (..., 4, 4) matrices.
    """
    r, t = np.asarray(rotation, np.float64), np.asarray(translation, np.float64)
    out = np.zeros((*np.broadcast_shapes(r.shape[:-2], t.shape[:-1]), 4, 4))
    out[..., :3, :3] = r
    out[..., :3, 3] = t
    out[..., 3, 3] = 1.0
    return out


def invert_rigid(a2b: ArrayLike) -> NDArrayFloat:
    """Inverse in closed form: the transpose of the rotation (or reflection).

    Args:
        a2b: (..., 4, 4) rigid matrices; mirrored frames are allowed, scaled ones are not.

    Returns:
        (..., 4, 4) matrices b2a.
    """
    m = np.asarray(a2b, dtype=np.float64)
    r_inv = np.swapaxes(m[..., :3, :3], -1, -2)
    return make_rigid(r_inv, -np.einsum('...ij,...j->...i', r_inv, m[..., :3, 3]))


def transform_points(a2b: ArrayLike, points: ArrayLike) -> NDArrayFloat:
    """Move points from frame a to frame b.

    Args:
        a2b: (..., 4, 4) matrices.
        points: (..., N, 3) points in frame a.

    Returns:
        (..., N, 3) points in frame b.
    """
    m, p = np.asarray(a2b, np.float64), np.asarray(points, np.float64)
    return np.asarray(p @ np.swapaxes(m[..., :3, :3], -1, -2) + m[..., None, :3, 3])


def heading_yaw(a2b: ArrayLike) -> NDArrayFloat:
    """Direction of a's x axis, seen from above in b (the devkit's ``quaternion_yaw``).

    Args:
        a2b: (..., 4, 4) or (..., 3, 3) matrices.

    Returns:
        (...) angles from b's x axis, counter-clockwise, radians.
    """
    m = np.asarray(a2b, dtype=np.float64)
    return np.asarray(np.arctan2(m[..., 1, 0], m[..., 0, 0]))


def wrap_angle(angle_rad: ArrayLike) -> NDArrayFloat:
    """Angles brought into [-pi, pi).

    Example:
        >>> wrap_angle([np.pi, 3.5 * np.pi]).round(4).tolist()
        [-3.1416, -1.5708]
    """
    a = np.asarray(angle_rad, dtype=np.float64)
    return np.asarray((a + np.pi) % (2 * np.pi) - np.pi)


def camera_matrix(cam2img: ArrayLike, lidar2cam: ArrayLike) -> NDArrayFloat:
    """Projection from the lidar frame to homogeneous pixels.

    Args:
        cam2img: (..., 3, 3) intrinsics, pixels.
        lidar2cam: (..., 4, 4) extrinsics.

    Returns:
        (..., 4, 4) lidar2img; it maps (x, y, z, 1) to (u d, v d, d, 1) with depth d in metres.
    """
    ext = np.asarray(lidar2cam, np.float64)
    out = ext.copy()
    out[..., :3, :] = np.asarray(cam2img, np.float64) @ ext[..., :3, :]
    return out


def project_points(lidar2img: ArrayLike, points: ArrayLike) -> tuple[NDArrayFloat, NDArrayFloat]:
    """Project points into an image.

    Args:
        lidar2img: (..., 4, 4) projections.
        points: (..., N, 3) points, lidar frame, metres.

    Returns:
        (..., N, 2) pixels, meaningless where the depth is not positive, and (..., N) depths,
        metres.
    """
    p = transform_points(lidar2img, points)
    depth = p[..., 2]
    safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
    return p[..., :2] / safe[..., None], depth
