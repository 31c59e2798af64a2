# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The order in which things on a flat ground are painted so that near ones cover far ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nexusflow.world.scene import NDArrayFloat, NDArrayInt

#: Footprints may overlap by this much and still count as separate, metres.
_TOLERANCE_M = 0.05


def paint_order(
    center_m: NDArrayFloat, yaw_rad: NDArrayFloat, half_m: NDArrayFloat, camera_m: NDArrayFloat
) -> NDArrayInt:
    """Orders upright boxes from back to front for one camera.

    A box cannot cover another one when a vertical plane along one of their sides has the one behind it and the other,
    with the camera, in front. Boxes are sorted by distance; where that contradicts such a plane, the plane wins.

    Args:
        center_m: (N, 2) centres of the footprints, metres.
        yaw_rad: (N,) directions of their lengths.
        half_m: (N, 2) half lengths and half widths.
        camera_m: (2,) position of the camera.

    Returns:
        (N,) indices, farthest first.

    Examples:
        A long wall behind a far cube: the cube is farther from the camera, yet painted last.

        >>> center = np.array([[20.0, 6.0], [30.0, 2.0]])
        >>> paint_order(center, np.zeros(2), np.array([[20.0, 1.0], [1.0, 1.0]]), np.zeros(2))
        array([0, 1])
    """
    distance = np.linalg.norm(center_m - camera_m, axis=1)
    order = np.argsort(-distance, kind='stable')
    before = _must_precede(center_m[order], yaw_rad[order], half_m[order], camera_m)
    late, early = np.nonzero(np.tril(before, -1))
    if len(late):
        # Nothing outside this stretch has to move.
        stretch = slice(int(early.min()), int(late.max()) + 1)
        order[stretch] = order[stretch][_topological(before[stretch, stretch])]
    return order


def _must_precede(
    center_m: NDArrayFloat, yaw_rad: NDArrayFloat, half_m: NDArrayFloat, camera_m: NDArrayFloat
) -> NDArray[np.bool_]:
    """(N, N) whether box i must be painted before box j."""
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    # (2, N, 2): the boxes' directions along their length, then across it.
    axes = np.array([[cos, sin], [-sin, cos]]).transpose(0, 2, 1)
    at = (axes * center_m).sum(axis=2)[..., None]
    # (2, N, N): box j along the axes of box i, which is at 0: its middle, and half its size.
    offset = axes @ center_m.T - at
    reach = np.abs(axes @ axes[0].T) * half_m[:, 0] + np.abs(axes @ axes[1].T) * half_m[:, 1]
    camera = axes @ camera_m[:, None] - at
    limit = half_m.T[..., None]
    # j lies wholly beyond a side of i: with the camera there too, i cannot cover j; else j cannot cover i.
    positive, negative = offset - reach, offset + reach
    positive, negative = positive >= limit - _TOLERANCE_M, negative <= _TOLERANCE_M - limit
    ahead, behind = camera >= limit, camera <= -limit
    i_not_over_j = ((positive & ahead) | (negative & behind)).any(axis=0)
    j_not_over_i = ((positive & ~ahead) | (negative & ~behind)).any(axis=0)
    never_over = i_not_over_j | j_not_over_i.T
    return np.asarray(never_over & ~never_over.T)


def _topological(before: NDArray[np.bool_]) -> NDArrayInt:
    """Order that respects ``before``; among free boxes the first comes first; cycles are cut there."""
    packed = np.packbits(before.T, axis=1, bitorder='little')
    # One integer a box: the set of those that must come before it.
    earlier = [int.from_bytes(row.tobytes(), 'little') for row in packed]
    waiting = list(range(len(before)))
    open_set = (1 << len(before)) - 1
    result = []
    while waiting:
        position = next((p for p, i in enumerate(waiting) if not earlier[i] & open_set), 0)
        index = waiting.pop(position)
        open_set &= ~(1 << index)
        result.append(index)
    return np.array(result, dtype=np.int64)
