# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""nuScenes' lane paths as points: each path is three pieces, arcs of one radius or straight.

A lane is a list of such paths (record ``arcline_path_3`` of the map expansion). All paths of a city
are turned into points at once; spacing and number of points are those of the devkit's
``arcline_path_utils.discretize``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

NDArrayFloat = NDArray[np.float64]

_CURVES = {'L': 1.0, 'S': 0.0, 'R': -1.0}


def discretise(
    lanes: Sequence[Sequence[Mapping[str, Any]]], spacing_m: float
) -> list[NDArrayFloat]:
    """Points along lanes.

    Args:
        lanes: Paths of each lane; a path has ``start_pose`` (x, y, yaw), ``shape`` (three of L, S
            and R), ``radius`` and three ``segment_length``, metres.
        spacing_m: Largest distance between points, along each path.

    Returns:
        (n, 2) points of each lane, global frame, metres; both ends of each path are among them.

    Raises:
        ValueError: A path has an unknown shape.
    """
    paths = [path for lane in lanes for path in lane]
    if not paths:
        return [np.zeros((0, 2)) for _ in lanes]
    start = np.array([p['start_pose'] for p in paths], dtype=np.float64)
    length = np.array([p['segment_length'] for p in paths], dtype=np.float64)
    radius = np.array([p['radius'] for p in paths], dtype=np.float64)
    bend = np.array([_bends(p['shape']) for p in paths]) / radius[:, None]
    poses = [start]
    for i in range(2):
        poses.append(_advance(poses[i], bend[:, i], length[:, i]))
    total = length.sum(axis=1)
    count = np.maximum(np.ceil(total / spacing_m).astype(np.int64) + 1, 2)
    path = np.repeat(np.arange(len(paths)), count)
    step = np.arange(len(path)) - np.repeat(np.cumsum(count) - count, count)
    s = (total / (count - 1))[path] * step
    ends = np.cumsum(length, axis=1)
    piece = (s[:, None] > ends[path, :2]).sum(axis=1)
    done = np.where(piece > 0, ends[path, np.maximum(piece - 1, 0)], 0.0)
    points = _advance(np.stack(poses)[piece, path], bend[path, piece], s - done)[:, :2]
    sizes = np.cumsum(count)
    lane_end = np.cumsum([len(lane) for lane in lanes])
    return np.split(points, np.concatenate([[0], sizes])[lane_end[:-1]])


def _advance(pose: NDArrayFloat, bend: NDArrayFloat, distance: NDArrayFloat) -> NDArrayFloat:
    """(N, 3) poses after a way of constant curvature: the chord of an arc lies along its mean heading."""
    half = bend * distance / 2
    chord = distance * np.sinc(half / np.pi)
    x, y, yaw = pose.T
    return np.stack(
        [x + chord * np.cos(yaw + half), y + chord * np.sin(yaw + half), yaw + 2 * half], axis=1
    )


def _bends(shape: str) -> list[float]:
    """Signs of the curvature of a path's pieces."""
    if len(shape) != 3 or not set(shape) <= set(_CURVES):
        raise ValueError(f"field 'shape' of a path is '{shape}'; expected three of L, S and R")
    return [_CURVES[letter] for letter in shape]
