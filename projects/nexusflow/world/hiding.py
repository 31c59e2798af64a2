# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Which things a camera cannot see because a building stands before them; they need not be painted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nexusflow.world.scene import NDArrayFloat, NDArrayInt

_SIGNS = np.array([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]])


def surely_hidden(
    bottom_m: NDArrayFloat,
    axes: NDArrayFloat,
    size_lwh_m: NDArrayFloat,
    solid: NDArray[np.bool_],
    view: NDArrayInt,
    near_m: float,
) -> NDArray[np.bool_]:
    """Finds boxes whose whole outline lies in that of one solid box painted later for the same camera.

    Args:
        bottom_m: (N, 3) centres of the undersides, camera frame (y down), in painting order.
        axes: (N, 3, 3) rows are the boxes' length, width and height directions, camera frame.
        size_lwh_m: (N, 3) sizes.
        solid: (N,) whether the box is filled, standing on the ground and higher than the camera.
        view: (N,) camera for which the box is painted.
        near_m: Boxes that come nearer than this, along the optical axis, neither hide nor are hidden.

    Returns:
        (N,) whether nothing of the box can be seen.
    """
    flat = (_SIGNS * size_lwh_m[:, None, :2]) @ axes[:, :2]
    low = bottom_m[:, None] + flat
    high = low + (axes[:, 2] * size_lwh_m[:, 2:])[:, None]
    corners = np.concatenate([low, high], axis=1)
    depth = corners[..., 2]
    safe = depth.min(axis=1) > near_m
    slope = corners[..., :2] / np.maximum(depth, near_m)[..., None]
    left, right = slope[..., 0].min(axis=1), slope[..., 0].max(axis=1)
    top, lowest_top = slope[..., 1].min(axis=1), slope[:, 4:, 1].max(axis=1)
    # Columns of the comparisons are the boxes that may hide others.
    cover = np.flatnonzero(solid & safe)
    covered = (left[:, None] >= left[cover]) & (right[:, None] <= right[cover])
    covered &= (top[:, None] >= lowest_top[cover]) & (view[:, None] == view[cover])
    covered &= np.arange(len(left))[:, None] < cover
    return np.asarray(covered.any(axis=1) & safe)
