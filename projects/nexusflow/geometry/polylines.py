# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Polylines as (n, 2) arrays; a closed ring repeats its first vertex at the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

NDArrayFloat = NDArray[np.float64]
NDArrayBool = NDArray[np.bool_]


def resample(lines: Sequence[ArrayLike], num_points: int) -> NDArrayFloat:
    """Resample polylines uniformly by arc length, all of them in one pass.

    The cumulative length runs on over the concatenation of all lines (steps from one line to the
    next count 0), so that one search places every point of every line.

    Args:
        lines: K polylines (n_k, D) with n_k >= 1; the number of vertices may differ.
        num_points: Points P per line, >= 2; the first and the last keep the line's ends.

    Returns:
        (K, P, D) points. A line of length 0 gives P copies of its vertex.

    Raises:
        ValueError: For fewer than 2 points or an empty line.

    Example:
        >>> resample([[[0, 0], [1, 0], [1, 3]]], 5)[0].tolist()
        [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [1.0, 3.0]]
    """
    if num_points < 2:
        raise ValueError(f'num_points: a polyline needs at least 2 points, got {num_points}')
    arrays = [np.asarray(line, dtype=np.float64) for line in lines]
    if not arrays:
        return np.zeros((0, num_points, 2))
    sizes = np.array([len(a) for a in arrays])
    if sizes.min() == 0:
        raise ValueError(f'line {int(sizes.argmin())} of {len(arrays)} is empty; drop it first')
    points = np.concatenate(arrays)
    last = np.cumsum(sizes) - 1
    first = last - sizes + 1
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    steps[last[:-1]] = 0.0
    s = np.concatenate([[0.0], np.cumsum(steps)])
    t = np.linspace(0.0, 1.0, num_points)
    targets = s[first, None] + (s[last] - s[first])[:, None] * t
    left = np.searchsorted(s, targets, side='right') - 1
    left = np.clip(left, first[:, None], np.maximum(last - 1, first)[:, None])
    right = np.minimum(left + 1, last[:, None])
    span = s[right] - s[left]
    weight = np.clip((targets - s[left]) / np.where(span > 0, span, 1.0), 0.0, 1.0)[..., None]
    out = points[left] * (1 - weight) + points[right] * weight
    out[:, -1] = points[last]
    return np.asarray(out)


def is_closed(lines: Sequence[ArrayLike], tolerance_m: float = 1e-3) -> NDArrayBool:
    """Which polylines end where they start (and have at least 4 vertices, as a ring has).

    Args:
        lines: K polylines (n_k, D).
        tolerance_m: Largest distance between the ends of a ring, metres.

    Returns:
        (K,) flags.
    """
    arrays = [np.asarray(line, dtype=np.float64) for line in lines]
    flags = [len(a) >= 4 and bool(np.linalg.norm(a[0] - a[-1]) <= tolerance_m) for a in arrays]
    return np.array(flags, dtype=np.bool_)


def line_lengths(lines: Sequence[ArrayLike]) -> NDArrayFloat:
    """Lengths of polylines, metres.

    Args:
        lines: K polylines (n_k, D).

    Returns:
        (K,) lengths.
    """
    arrays = [np.asarray(line, dtype=np.float64) for line in lines]
    return np.array([np.linalg.norm(np.diff(a, axis=0), axis=1).sum() for a in arrays])
