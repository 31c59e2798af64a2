# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Polygons of map layers: repair, union, joining of crossings, outlines."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from nexusflow.geometry.weld import weld

NDArrayBool = NDArray[np.bool_]
NDArrayInt = NDArray[np.int64]
NDArrayObject = NDArray[np.object_]

SAME_AXIS = 0.01
"""Crossings are parallel when 1 - |cos| of their long axes is below this: within 8 degrees."""


def repair(polygons: NDArrayObject) -> tuple[NDArrayObject, int, int]:
    """Mend invalid polygons, e.g. outlines that cross themselves.

    Args:
        polygons: (N,) polygons.

    Returns:
        Valid polygons with an area (a repair may make several of one), the number of polygons that
        were repaired, and the number of those that are lost because they have no area.
    """
    broken = ~shapely.is_valid(polygons)
    mended = polygons.copy()
    mended[broken] = shapely.make_valid(polygons[broken])
    lost = broken & (shapely.area(mended) == 0)
    return surfaces(mended), int((broken & ~lost).sum()), int(lost.sum())


def surfaces(geoms: NDArrayObject) -> NDArrayObject:
    """All polygons with an area in any geometries; lines and points are left out."""
    parts = shapely.get_parts(shapely.get_parts(geoms))
    return np.asarray(parts[shapely.area(parts) > 0])


def union(polygons: NDArrayObject) -> NDArrayObject:
    """The parts of the union of valid polygons, without slits between those that touch."""
    return surfaces(np.array([shapely.union_all(weld(polygons))]))


def join_parallel(polygons: NDArrayObject) -> NDArrayObject:
    """Join polygons that touch and whose long axes are parallel, also over several of them.

    StreamMapNet's rule for crossings (Yuan et al., WACV 2024, https://arxiv.org/abs/2308.12570). It
    asks pairs among what the patch leaves of the crossings; here whole crossings are asked, once per
    city, so that an element keeps its shape while the patch moves.

    Args:
        polygons: (N,) valid polygons.

    Returns:
        The parts of the union of each group.
    """
    a, b = shapely.STRtree(polygons).query(polygons, predicate='intersects')
    axis = np.array([_long_axis(p) for p in polygons]).reshape(-1, 2)
    parallel = 1 - np.abs((axis[a] * axis[b]).sum(axis=1)) < SAME_AXIS
    group = _groups(len(polygons), a[parallel], b[parallel])
    return np.concatenate([polygons[:0], *(union(polygons[group == g]) for g in np.unique(group))])


def outlines(polygons: NDArrayObject) -> NDArrayObject:
    """Rings of polygons; outer ones clockwise, holes counter-clockwise."""
    rings, owner = shapely.get_rings(polygons, return_index=True)
    is_outer = np.diff(owner, prepend=-1) > 0
    wrong = shapely.is_ccw(rings) == is_outer
    rings[wrong] = shapely.reverse(rings[wrong])
    return np.asarray(rings)


def _long_axis(polygon: BaseGeometry) -> NDArray[np.float64]:
    """(2,) unit vector along the longer side of the smallest rectangle around a polygon."""
    corners = shapely.get_coordinates(shapely.oriented_envelope(polygon))
    sides = np.diff(corners[:3], axis=0)
    length = np.linalg.norm(sides, axis=1)
    return np.asarray(sides[length.argmax()] / length.max())


def _groups(count: int, a: NDArrayInt, b: NDArrayInt) -> NDArrayInt:
    """The smallest index that each of ``count`` items is linked to, over any number of links a-b."""
    group = np.arange(count)
    while True:
        before = group.copy()
        np.minimum.at(group, a, group[b])
        np.minimum.at(group, b, group[a])
        if (before == group).all():
            return group
