# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The straightforward way from a map to local lines, for comparison in time and in outcome.

For each pose every record of every layer is rebuilt from its nodes and intersected with the patch, one
after the other, as MapTR does (Liao et al., ICLR 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from shapely import affinity, ops
from shapely.geometry import LineString, MultiLineString, Polygon, box
from shapely.geometry.base import BaseGeometry

LAYERS = ('road_segment', 'lane', 'ped_crossing', 'road_divider', 'lane_divider')
MARGIN_M = 0.2


class RecordByRecord:
    """MapTR's rules in scalar shapely.

    Args:
        tables: A map expansion.
        clip_first: MapTR's order: clip, move, unite. Else: unite, clip, move; equal in exact numbers,
            and without the slits that rounding opens between shapes that touch.
    """

    def __init__(self, tables: Mapping[str, Any], clip_first: bool = True) -> None:
        self._tables = tables
        self._clip_first = clip_first
        self._nodes, self._polygons, self._lines = (
            {record['token']: record for record in tables[name]}
            for name in ('node', 'polygon', 'line')
        )

    def extract(
        self, x: float, y: float, yaw: float, range_m: Sequence[float]
    ) -> dict[str, list[np.ndarray]]:
        """Lines of each class around a pose, lidar frame, metres."""
        local_patch = box(*range_m)
        turned = affinity.rotate(local_patch, yaw, (0, 0), use_radians=True)
        patch = affinity.translate(turned, x, y)

        def to_local(shape: BaseGeometry) -> BaseGeometry:
            moved = affinity.translate(shape, -x, -y)
            return affinity.rotate(moved, -yaw, (0, 0), use_radians=True)

        def area(names: Sequence[str]) -> BaseGeometry:
            shapes = [s for name in names for s in self._shapes(name)]
            if not self._clip_first:
                near = [s for s in shapes if s.intersects(patch)]
                return to_local(ops.unary_union(near))
            cut = [s.intersection(patch) for s in shapes]
            return ops.unary_union([to_local(s) for s in cut if not s.is_empty])

        x0, y0, x1, y1 = range_m
        m = MARGIN_M
        inner = box(x0 + m, y0 + m, x1 - m, y1 - m)
        outer = box(x0 - m, y0 - m, x1 + m, y1 + m)
        dividers = [
            to_local(line.intersection(patch))
            for name in ('road_divider', 'lane_divider')
            for line in self._shapes(name)
            if line.intersects(patch)
        ]
        crossings = area(['ped_crossing']).intersection(local_patch)
        return {
            'divider': list(_coords(dividers)),
            'ped_crossing': list(_coords(_outlines(crossings, outer))),
            'boundary': list(_coords(_outlines(area(['road_segment', 'lane']), inner))),
        }

    def _shapes(self, layer: str) -> Iterator[BaseGeometry]:
        """Every record of a layer, built from its nodes."""
        for record in self._tables[layer]:
            if 'line_token' in record:
                tokens = self._lines[record['line_token']]['node_tokens']
                if len(tokens) > 1:
                    yield LineString(self._points(tokens))
                continue
            polygon = self._polygons[record['polygon_token']]
            if len(polygon['exterior_node_tokens']) < 3:
                continue
            holes = [self._points(h['node_tokens']) for h in polygon['holes'] if h['node_tokens']]
            shape = Polygon(self._points(polygon['exterior_node_tokens']), holes)
            yield shape if shape.is_valid else shapely.make_valid(shape)

    def _points(self, tokens: Sequence[str]) -> list[tuple[float, float]]:
        return [(self._nodes[token]['x'], self._nodes[token]['y']) for token in tokens]


def resample_each(lines: Sequence[np.ndarray], num_points: int) -> np.ndarray:
    """(K, P, 2) points, asked one by one of shapely."""
    out = []
    for line in lines:
        shape = LineString(line)
        for distance in np.linspace(0, shape.length, num_points):
            out.append(shape.interpolate(distance).coords[0])
    return np.array(out).reshape(len(lines), num_points, 2)


def _outlines(area: BaseGeometry, window: BaseGeometry) -> Iterator[BaseGeometry]:
    """Rings of an area within a window; outer ones clockwise, holes counter-clockwise."""
    for part in getattr(area, 'geoms', [area]):
        if not isinstance(part, Polygon) or part.is_empty:
            continue
        for ring, is_hole in [(part.exterior, False), *((r, True) for r in part.interiors)]:
            line = ring if ring.is_ccw == is_hole else ring.reverse()
            line = line.intersection(window)
            yield ops.linemerge(line) if isinstance(line, MultiLineString) else line


def _coords(shapes: Sequence[BaseGeometry] | Iterator[BaseGeometry]) -> Iterator[np.ndarray]:
    """Line parts with a length."""
    for shape in shapes:
        for part in getattr(shape, 'geoms', [shape]):
            if part.length > 1e-2:
                yield np.array(part.coords)
