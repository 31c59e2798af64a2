# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A city map as the JSON of the nuScenes map expansion 1.3, which `NuScenesMap` loads.

A layer is a list of records; a record names a polygon or a line, which names its nodes. Lanes,
crossings and pavements are in the layers of the same name, road surface in `road_segment`, and its
union in `drivable_area`. What a world does not have (stop lines, traffic lights, car parks, road
blocks, lane connectors, connectivity) is present and empty, because the devkit asks for the keys.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import make_valid, set_precision, unary_union
from shapely.geometry import LineString, MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from nexusflow.world.nuscenes_schema import Row
from nexusflow.world.scene import CityMap
from nexusflow.world.tokens import token

MAP_EXPANSION_VERSION = '1.3'
_CANVAS_MARGIN_M = 20.0
_WELD_M = 0.05
_GRID_M = 0.001
_MIN_AREA_M2 = 0.001
_PICTURE_MAX_PX = 2000


class _Geometry:
    """Collects nodes, lines and polygons of one map under tokens that depend on the order only."""

    def __init__(self, location: str) -> None:
        self.location = location
        self.node: list[Row] = []
        self.line: list[Row] = []
        self.polygon: list[Row] = []

    def add_line(self, line: LineString) -> str:
        """Adds a line and gives its token."""
        name = token('line', self.location, len(self.line))
        self.line.append({'token': name, 'node_tokens': self._nodes(line.coords)})
        return name

    def add_polygon(self, polygon: Polygon) -> str:
        """Adds a polygon with its holes and gives its token."""
        name = token('polygon', self.location, len(self.polygon))
        polygon = orient(polygon)
        self.polygon.append(
            {
                'token': name,
                'exterior_node_tokens': self._nodes(polygon.exterior.coords[:-1]),
                'holes': [
                    {'node_tokens': self._nodes(ring.coords[:-1])} for ring in polygon.interiors
                ],
            }
        )
        return name

    def polygon_layer(self, layer: str, polygons: Iterable[BaseGeometry]) -> list[Row]:
        """Adds a layer of polygons and gives its records."""
        parts = [part for polygon in polygons for part in _polygons(polygon)]
        return [
            {'token': token(layer, self.location, i), 'polygon_token': self.add_polygon(part)}
            for i, part in enumerate(parts)
        ]

    def line_layer(self, layer: str, lines: Iterable[LineString]) -> list[Row]:
        """Adds a layer of lines and gives its records."""
        return [
            {'token': token(layer, self.location, i), 'line_token': self.add_line(line)}
            for i, line in enumerate(lines)
        ]

    def _nodes(self, coords: Iterable[tuple[float, ...]]) -> list[str]:
        names = []
        for x, y, *_ in coords:
            if x < 0 or y < 0:
                raise ValueError(
                    f"map '{self.location}': the point ({x:.1f}, {y:.1f}) is negative; nuScenes "
                    'maps start at (0, 0): move the whole map and its scenes'
                )
            names.append(token('node', self.location, len(self.node)))
            self.node.append({'token': names[-1], 'x': round(x, 4), 'y': round(y, 4)})
        return names


def _polygons(shape: BaseGeometry) -> list[Polygon]:
    """Splits a shape into valid polygons with an area; lines and points are left out."""
    valid = shape if shape.is_valid else make_valid(shape)
    parts = getattr(valid, 'geoms', [valid])
    found = [
        p for part in parts for p in (part.geoms if isinstance(part, MultiPolygon) else [part])
    ]
    return [p for p in found if isinstance(p, Polygon) and p.area > _MIN_AREA_M2]


def drivable_area(city_map: CityMap) -> list[Polygon]:
    """Gives the union of the road segments; gaps below 10 cm between neighbours are closed."""
    union = unary_union(
        [segment.polygon.buffer(_WELD_M, join_style=2) for segment in city_map.road_segments]
    )
    return _polygons(set_precision(union.buffer(-_WELD_M, join_style=2), _GRID_M))


def _all_shapes(city_map: CityMap) -> list[BaseGeometry]:
    return [
        *(segment.polygon for segment in city_map.road_segments),
        *city_map.lanes,
        *city_map.ped_crossings,
        *city_map.walkways,
        *city_map.road_dividers,
        *city_map.lane_dividers,
    ]


def canvas_edge_m(city_map: CityMap) -> tuple[float, float]:
    """Gives width and height of a canvas from (0, 0) that covers the map, whole metres."""
    bounds = [shape.bounds for shape in _all_shapes(city_map)]
    if not bounds:
        raise ValueError(f"map '{city_map.location}' has no geometry at all")
    x_max, y_max = (max(b[axis] for b in bounds) + _CANVAS_MARGIN_M for axis in (2, 3))
    return float(math.ceil(x_max)), float(math.ceil(y_max))


def map_expansion(city_map: CityMap) -> dict[str, object]:
    """Builds the content of `maps/expansion/<location>.json`.

    Args:
        city_map: The map of a whole location; all coordinates are positive.

    Returns:
        All keys that `NuScenesMap` reads, in version 1.3.

    Raises:
        ValueError: If the map is empty or has negative coordinates.
    """
    location = city_map.location
    shapes = _Geometry(location)
    area = token('drivable_area', location, 0)
    drivable = [shapes.add_polygon(polygon) for polygon in drivable_area(city_map)]
    segments = [
        {
            'token': token('road_segment', location, i, j),
            'polygon_token': shapes.add_polygon(part),
            'is_intersection': segment.is_intersection,
            'drivable_area_token': area,
        }
        for i, segment in enumerate(city_map.road_segments)
        for j, part in enumerate(_polygons(segment.polygon))
    ]
    lane_extra = {
        'lane_type': 'CAR',
        'left_lane_divider_segments': [],
        'right_lane_divider_segments': [],
    }
    return {
        'version': MAP_EXPANSION_VERSION,
        'canvas_edge': list(canvas_edge_m(city_map)),
        'drivable_area': [{'token': area, 'polygon_tokens': drivable}],
        'road_segment': segments,
        'lane': [{**row, **lane_extra} for row in shapes.polygon_layer('lane', city_map.lanes)],
        'ped_crossing': [
            {**row, 'road_segment_token': ''}
            for row in shapes.polygon_layer('ped_crossing', city_map.ped_crossings)
        ],
        'walkway': shapes.polygon_layer('walkway', city_map.walkways),
        'road_divider': shapes.line_layer('road_divider', city_map.road_dividers),
        'lane_divider': [
            {**row, 'lane_divider_segments': []}
            for row in shapes.line_layer('lane_divider', city_map.lane_dividers)
        ],
        'road_block': [],
        'stop_line': [],
        'carpark_area': [],
        'traffic_light': [],
        'lane_connector': [],
        'arcline_path_3': {},
        'connectivity': {},
        'polygon': shapes.polygon,
        'line': shapes.line,
        'node': shapes.node,
    }


def map_picture(city_map: CityMap) -> NDArray[np.uint8]:
    """Draws the drivable area: uint8 (H, W), north up, at most 2000 pixels on the longer side.

    The devkit asks for a picture per map; it opens it only to draw routes on it.
    """
    width_m, height_m = canvas_edge_m(city_map)
    scale = _PICTURE_MAX_PX / max(width_m, height_m)
    size = (max(1, round(height_m * scale)), max(1, round(width_m * scale)))
    picture = np.zeros(size, dtype=np.uint8)
    for segment in city_map.road_segments:
        outline = segment.polygon
        rings = [shapely.get_coordinates(r) for r in (outline.exterior, *outline.interiors)]
        pixels = [np.round(xy * (scale, -scale) + (0, size[0])).astype(np.int32) for xy in rings]
        cv2.fillPoly(picture, pixels, (255,))
    return picture
