# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""From a city's map to the lines around one pose, by MapTR's rules.

Classes and their sources (nuScenes map expansion layers):

- ``divider``: ``road_divider`` and ``lane_divider`` lines, clipped to the patch, not merged;
- ``ped_crossing``: outline of the union of the crossings, clipped to the patch: always closed
  rings, a crossing that the patch cuts contains a piece of the patch's edge;
- ``boundary``: outline of the union of ``road_segment`` and ``lane``, cut by the patch shrunk by
  0.2 m, which drops the fake edges along the patch border; open lines, or closed rings (islands);
- ``centerline`` (option, MapTRv2): ways through the lanes, see :mod:`nexusflow.geometry.centerlines`.

Outer rings run clockwise, holes counter-clockwise: the area lies to the right of the line. The
patch is turned by the yaw of ``lidar2global``; height, roll and pitch are ignored.

Rules after MapTR (Liao et al., ICLR 2023), https://arxiv.org/abs/2208.14437. Three differences:

- geometry is built, united and indexed once per city instead of once per sample;
- so the union comes before the clip. The outcome is the same in exact numbers, but polygons that
  share an edge which the patch cuts come apart by the last bit when they are clipped and turned
  first, and their union then has a slit: a boundary line up and down in the middle of the road;
- invalid polygons are repaired and counted instead of skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry.base import BaseGeometry

from nexusflow.geometry.centerlines import CenterlineIndex, LaneGraph
from nexusflow.geometry.line_index import MIN_LENGTH_M, LineIndex
from nexusflow.geometry.patch import Patch
from nexusflow.geometry.polygons import join_parallel, outlines, repair, surfaces, union

NDArrayFloat = NDArray[np.float64]
NDArrayObject = NDArray[np.object_]

MAP_CLASSES = ('divider', 'ped_crossing', 'boundary')
"""Order of the map classes' labels, as in MapTR."""

AREA_CLASSES = ('ped_crossing',)
"""Classes whose elements are outlines: cut, they stay rings."""

CENTERLINE = 'centerline'
"""The fourth class, as in MapTRv2; see :class:`MapRules`."""

CROSSING_RULES = ('maptr', 'streammapnet')

EDGE_MARGIN_M = 0.2
"""Boundaries nearer than this to the patch's edge are dropped."""


@dataclass(frozen=True)
class MapRules:
    """Choices among the published rules.

    Attributes:
        crossings: Which crossings become one element: ``'maptr'``, all that touch;
            ``'streammapnet'``, those that touch and have parallel long axes.
        centerlines: Whether ``centerline`` is a class.

    Raises:
        ValueError: There is no such rule.
    """

    crossings: str = 'maptr'
    centerlines: bool = False

    def __post_init__(self) -> None:
        if self.crossings not in CROSSING_RULES:
            raise ValueError(f"crossings is '{self.crossings}', it must be one of {CROSSING_RULES}")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the map classes in the order of their labels."""
        return (*MAP_CLASSES, CENTERLINE) if self.centerlines else MAP_CLASSES


@dataclass(frozen=True)
class MapLayers:
    """A city's geometry, global frame, metres.

    Attributes:
        road_surface: Polygons of the layers ``road_segment`` and ``lane``.
        ped_crossings: Polygons of the layer ``ped_crossing``.
        dividers: Lines of the layers ``road_divider`` and ``lane_divider``.
        lanes: Centre lines of the layers ``lane`` and ``lane_connector``.
        num_unusable: Records without geometry, per layer, e.g. polygons of two nodes.
    """

    road_surface: Sequence[BaseGeometry] = field(default=())
    ped_crossings: Sequence[BaseGeometry] = field(default=())
    dividers: Sequence[BaseGeometry] = field(default=())
    lanes: LaneGraph = LaneGraph()
    num_unusable: Mapping[str, int] = field(default_factory=dict)


class MapIndex:
    """One search tree per class of a city; answers poses with local lines.

    Args:
        layers: The city's geometry.
        rules: Choices among the published rules.

    Attributes:
        rules: The rules.
        num_repaired: Invalid polygons that were repaired, per layer.
        num_unusable: Records that give no element, per layer: those without geometry, and invalid
            polygons without an area.
    """

    def __init__(self, layers: MapLayers, rules: MapRules | None = None) -> None:
        self.rules = rules or MapRules()
        self.num_repaired: dict[str, int] = {}
        self.num_unusable = dict(layers.num_unusable)
        road = union(self._valid('road_surface', layers.road_surface))
        crossings = self._valid('ped_crossings', layers.ped_crossings)
        join = union if self.rules.crossings == 'maptr' else join_parallel
        self._crossings = shapely.STRtree(join(crossings))
        self._boundaries = LineIndex(outlines(road), join_rings=True)
        self._dividers = LineIndex(_simple(_as_array(layers.dividers)))
        self._lanes = CenterlineIndex(layers.lanes) if self.rules.centerlines else None

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
        patch = Patch.around(lidar2global, map_range_m)
        lines = {
            'divider': self._dividers.clip(patch).coords,
            'ped_crossing': self._crossing_rings(patch),
            'boundary': self._boundaries.clip(patch.grown(-EDGE_MARGIN_M)).coords,
        }
        if self._lanes is not None:
            lines[CENTERLINE] = self._lanes.clip(patch)
        return lines

    def _valid(self, name: str, polygons: Sequence[BaseGeometry]) -> NDArrayObject:
        """Repair a layer's polygons and count."""
        valid, repaired, lost = repair(_as_array(polygons))
        self.num_repaired[name] = repaired
        if lost:
            self.num_unusable[name] = self.num_unusable.get(name, 0) + lost
        return valid

    def _crossing_rings(self, patch: Patch) -> list[NDArrayFloat]:
        """Outlines of what the patch leaves of the crossings, lidar frame."""
        hits = np.sort(self._crossings.query(patch.footprint, predicate='intersects'))
        if len(hits) == 0:
            return []
        areas = shapely.transform(self._crossings.geometries[hits], patch.to_local)
        bounds = shapely.bounds(areas)
        cut = (bounds[:, :2] < patch.low).any(axis=1) | (bounds[:, 2:] > patch.high).any(axis=1)
        if cut.any():
            areas[cut] = shapely.intersection(areas[cut], patch.rectangle)
        rings = outlines(surfaces(areas))
        return [shapely.get_coordinates(r) for r in rings[shapely.length(rings) >= MIN_LENGTH_M]]


def _as_array(geoms: Sequence[BaseGeometry]) -> NDArrayObject:
    """Geometries as an object array (numpy would take some of them apart)."""
    out = np.empty(len(geoms), dtype=object)
    out[:] = list(geoms)
    return out


def _simple(lines: NDArrayObject) -> NDArrayObject:
    """Lines that cross themselves are split where they do, as clipping by shapely splits them."""
    crossing = ~shapely.is_simple(lines)
    lines = lines.copy()
    lines[crossing] = shapely.node(lines[crossing])
    return np.asarray(shapely.get_parts(lines))
