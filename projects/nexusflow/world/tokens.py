# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Names and rotations as the nuScenes tables spell them: 32 hex digits, and w, x, y, z."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from nexusflow.world.scene import NDArrayFloat


def token(*parts: object) -> str:
    """Gives a table token that depends on its parts only, so that a world can be made again.

    Args:
        parts: What the row is, from the general to the special, e.g. ``('sample', scene, 3)``.

    Returns:
        32 hexadecimal digits.

    Example:
        >>> token('sample', 'scene-0001', 3) == token('sample', 'scene-0001', 3)
        True
        >>> len(token('sample', 'scene-0001', 3))
        32
    """
    text = '\x1f'.join(map(str, parts))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def yaw_quaternion(yaw_rad: float) -> list[float]:
    """Turns a heading about z into a unit quaternion w, x, y, z.

    Example:
        >>> yaw_quaternion(0.0)
        [1.0, 0.0, 0.0, 0.0]
    """
    half = 0.5 * float(yaw_rad)
    return [round(math.cos(half), 9), 0.0, 0.0, round(math.sin(half), 9)]


def matrix_quaternion(rotation: NDArrayFloat) -> list[float]:
    """Turns a rotation matrix into a unit quaternion w, x, y, z with w >= 0.

    The quaternion is the eigenvector of the largest eigenvalue of a symmetric 4x4 matrix made of
    the entries of the rotation (Bar-Itzhack, 2000); there is no case where it loses precision.

    Args:
        rotation: (3, 3) rotation matrix.

    Raises:
        ValueError: If the matrix is not a rotation.
    """
    m = np.asarray(rotation, dtype=np.float64)
    if m.shape != (3, 3) or not np.allclose(m @ m.T, np.eye(3), atol=1e-6) or np.linalg.det(m) < 0:
        raise ValueError(f'not a rotation matrix: {m.tolist()}')
    k = np.empty((4, 4))
    k[0, 0] = np.trace(m)
    k[1:, 1:] = m + m.T - np.trace(m) * np.eye(3)
    k[0, 1:] = k[1:, 0] = (m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1])
    q = np.linalg.eigh(k)[1][:, -1]
    q = q if q[0] >= 0 else -q
    return [float(v) for v in q]
