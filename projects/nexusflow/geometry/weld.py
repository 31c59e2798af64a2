# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Polygons that touch but for rounding are made to touch exactly.

A vertex that was drawn on another polygon's edge lies beside it by the last bits, unless the edge runs
along an axis. The union of the two then has a slit as wide as that, and its outline runs up and down in
the middle of the road. Here such a vertex becomes a vertex of the edge too.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

NDArrayInt = NDArray[np.int64]
NDArrayObject = NDArray[np.object_]

REACH_M = 1e-7
"""What is closer than this is meant to touch: far above rounding, far below what a map can say."""


def weld(polygons: NDArrayObject) -> NDArrayObject:
    """Give edges the vertices that lie on them but for rounding, and such vertices one place.

    Args:
        polygons: (N,) valid polygons, metres.

    Returns:
        (N,) polygons; those without such neighbours are the same objects.
    """
    rings, owner = shapely.get_rings(polygons, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    start = np.flatnonzero(ring[1:] == ring[:-1])
    ends = xy[start], xy[start + 1]
    points = np.unique(xy, axis=0)
    tree = shapely.STRtree(shapely.linestrings(np.stack(ends, axis=1)))
    point, edge = tree.query(shapely.points(points), predicate='dwithin', distance=REACH_M)
    shared = [(points[point] == end[edge]).all(axis=1) for end in ends]
    apart = ~(shared[0] | shared[1])
    if not apart.any():
        return polygons
    point, edge = point[apart], edge[apart]
    points = _one_place(points, point, np.stack([end[edge] for end in ends], axis=1))
    welded = polygons.copy()
    touched = owner[ring[start[edge]]]
    for i in np.unique(touched):
        targets = shapely.multipoints(points[np.unique(point[touched == i])])
        welded[i] = shapely.snap(polygons[i], targets, REACH_M)
    return np.where(shapely.is_valid(welded), welded, polygons)


def _one_place(
    points: NDArray[np.float64], point: NDArrayInt, ends: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Points, of which those that are near an edge's end move to the smaller of both.

    Args:
        points: (P, 2) places, in their order.
        point: (K,) indices of points that lie near an edge.
        ends: (K, 2, 2) the ends of that edge.
    """
    moved = points.copy()
    for side in (0, 1):
        near = np.linalg.norm(points[point] - ends[:, side], axis=1) < REACH_M
        here, there = points[point[near]], ends[near, side]
        smaller = (there[:, 0] < here[:, 0]) | (
            (there[:, 0] == here[:, 0]) & (there[:, 1] < here[:, 1])
        )
        moved[point[near][smaller]] = there[smaller]
    return moved
