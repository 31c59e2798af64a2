# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""From a city's map to the lines around one pose, by MapTR's rules.

Classes and their sources (nuScenes map expansion layers):

- ``divider``: ``road_divider`` and ``lane_divider`` lines, clipped to the patch, not merged;
- ``ped_crossing``: outline of the union of the crossings, clipped to the patch: always closed
  rings, a crossing that the patch cuts contains a piece of the patch's edge;
- ``boundary``: outline of the union of ``road_segment`` and ``lane``, clipped to the patch and then
  cut by the patch shrunk by 0.2 m, which drops the fake edges along the patch border; open lines,
  or closed rings (islands).

Outer rings run clockwise, holes counter-clockwise: the area lies to the right of the line. The
patch is turned by the yaw of ``lidar2global``; height, roll and pitch are ignored.

Rules after MapTR (Liao et al., ICLR 2023), https://arxiv.org/abs/2208.14437. Two differences: all
geometry is built and indexed once per city instead of once per sample, and invalid polygons are
repaired and counted instead of skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry.base import BaseGeometry

from nexusflow.geometry.frames import heading_yaw

NDArrayFloat = NDArray[np.float64]
NDArrayObject = NDArray[np.object_]

MAP_CLASSES = ('divider', 'ped_crossing', 'boundary')
"""Order of the map classes' labels, as in MapTR."""

EDGE_MARGIN_M = 0.2
"""Boundaries nearer than this to the patch's edge are dropped."""

MIN_LENGTH_M = 1e-2
"""Shorter pieces are points where a line touches the patch."""


@dataclass(frozen=True)
class MapLayers:
    """A city's geometry, global frame, metres.

    Attributes:
        road_surface: Polygons of the layers ``road_segment`` and ``lane``.
        ped_crossings: Polygons of the layer ``ped_crossing``.
        dividers: Lines of the layers ``road_divider`` and ``lane_divider``.
    """

    road_surface: Sequence[BaseGeometry] = field(default=())
    ped_crossings: Sequence[BaseGeometry] = field(default=())
    dividers: Sequence[BaseGeometry] = field(default=())


class MapIndex:
    """One search tree per layer of a city; answers poses with local lines.

    Args:
        layers: The city's geometry.

    Attributes:
        num_repaired: Invalid polygons that were repaired, per layer.
    """

    def __init__(self, layers: MapLayers) -> None:
        self.num_repaired: dict[str, int] = {}
        self._trees = {
            'boundary': shapely.STRtree(self._valid('road_surface', layers.road_surface)),
            'ped_crossing': shapely.STRtree(self._valid('ped_crossings', layers.ped_crossings)),
            'divider': shapely.STRtree(_as_array(layers.dividers)),
        }

    def extract(
        self, lidar2global: ArrayLike, map_range_m: Sequence[float]
    ) -> dict[str, list[NDArrayFloat]]:
        """Lines of each class around a pose.

        Args:
            lidar2global: (4, 4) pose of the lidar.
            map_range_m: (x_min, y_min, x_max, y_max) of the patch, lidar frame, metres.

        Returns:
            Class name -> list of (n, 2) polylines within the patch, lidar frame; rings repeat their
            first vertex.
        """
        x0, y0, x1, y1 = (float(v) for v in map_range_m)
        m = EDGE_MARGIN_M
        patch = shapely.box(x0, y0, x1, y1)
        inner = shapely.box(x0 + m, y0 + m, x1 - m, y1 - m)
        near = {name: self._nearby(name, lidar2global, patch) for name in MAP_CLASSES}
        boundary = shapely.intersection(_outline(near['boundary'], patch), inner)
        split = shapely.get_type_id(boundary) == shapely.GeometryType.MULTILINESTRING
        boundary[split] = shapely.line_merge(boundary[split])
        return {
            'divider': _line_coords(shapely.intersection(near['divider'], patch)),
            'ped_crossing': _line_coords(_outline(near['ped_crossing'], patch)),
            'boundary': _line_coords(boundary),
        }

    def _valid(self, name: str, polygons: Sequence[BaseGeometry]) -> NDArrayObject:
        """Repair invalid polygons, count them, and keep what has an area."""
        geoms = _as_array(polygons)
        broken = ~shapely.is_valid(geoms)
        self.num_repaired[name] = int(broken.sum())
        if broken.any():
            geoms = geoms.copy()
            geoms[broken] = shapely.make_valid(geoms[broken])
            geoms = shapely.get_parts(geoms)
            geoms = shapely.get_parts(geoms)
        return np.asarray(geoms[shapely.get_dimensions(geoms) == 2])

    def _nearby(self, name: str, lidar2global: ArrayLike, patch: BaseGeometry) -> NDArrayObject:
        """A layer's geometries that meet the patch, moved to the lidar frame."""
        pose = np.asarray(lidar2global, dtype=np.float64)
        yaw = float(heading_yaw(pose))
        turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        origin = pose[:2, 3]
        tree = self._trees[name]
        area = shapely.transform(patch, lambda xy: xy @ turn.T + origin)
        hits = np.sort(tree.query(area, predicate='intersects'))
        found = tree.geometries[hits]
        return np.asarray(shapely.transform(found, lambda xy: (xy - origin) @ turn))


def _as_array(geoms: Sequence[BaseGeometry]) -> NDArrayObject:
    """Geometries as an object array (numpy would take some of them apart)."""
    out = np.empty(len(geoms), dtype=object)
    out[:] = list(geoms)
    return out


def _outline(polygons: NDArrayObject, patch: BaseGeometry) -> NDArrayObject:
    """Rings of the union of the polygons within the patch; outer ones clockwise, holes not."""
    parts = shapely.get_parts(shapely.union_all(shapely.intersection(polygons, patch)))
    parts = parts[shapely.get_dimensions(parts) == 2]
    rings, owner = shapely.get_rings(parts, return_index=True)
    is_outer = np.diff(owner, prepend=-1) > 0
    wrong = shapely.is_ccw(rings) == is_outer
    rings[wrong] = shapely.reverse(rings[wrong])
    return np.asarray(rings)


def _line_coords(geoms: NDArrayObject) -> list[NDArrayFloat]:
    """The line parts of clipped geometries as coordinate arrays, without empty ones."""
    parts = shapely.get_parts(geoms)
    parts = parts[shapely.length(parts) >= MIN_LENGTH_M]
    coords, index = shapely.get_coordinates(parts, return_index=True)
    if len(parts) == 0:
        return []
    return np.split(coords, np.flatnonzero(np.diff(index)) + 1)
