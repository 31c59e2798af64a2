# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What is painted on the ground near a drive, taken from the vector map."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import shapely
from shapely.geometry import LineString, Polygon

from nexusflow.world.markings import crossing_paint, divider_quads
from nexusflow.world.scene import CityMap, NDArrayFloat
from nexusflow.world.styles import CityStyle


class Surface(IntEnum):
    """What the ground is made of."""

    VEGETATION = 0
    PAVEMENT = 1
    JOINT = 2
    ROAD = 3
    JUNCTION = 4
    KERB = 5
    EDGE_LINE = 6
    LANE_LINE = 7
    ROAD_LINE = 8
    STRIPE = 9
    BORDER = 10


@dataclass(frozen=True)
class GroundPlan:
    """Everything painted on the ground near one drive, as outlines in metres (global frame).

    Attributes:
        pavements: Rings of each walkway.
        roads: Rings of each road segment and whether it is a junction.
        paint: What is painted, in painting order, with (N, P, 2) its convex outlines.
        has_edge_lines: Whether a line runs along the road's edge.
    """

    pavements: tuple[list[NDArrayFloat], ...]
    roads: tuple[tuple[list[NDArrayFloat], bool], ...]
    paint: tuple[tuple[Surface, NDArrayFloat], ...]
    has_edge_lines: bool


def plan_ground(
    city_map: CityMap, style: CityStyle, bounds_m: tuple[float, float, float, float]
) -> GroundPlan:
    """Collects what must be painted within bounds.

    Args:
        city_map: The map.
        style: The city's look.
        bounds_m: Lowest x, lowest y, highest x, highest y; global frame.

    Returns:
        The plan.
    """
    roads = [
        city_map.road_segments[i]
        for i in _near([r.polygon for r in city_map.road_segments], bounds_m)
    ]
    walkways = [city_map.walkways[i] for i in _near(city_map.walkways, bounds_m)]
    lanes = [city_map.lane_centerlines[i] for i in _near(city_map.lane_centerlines, bounds_m)]
    crossings = [city_map.ped_crossings[i] for i in _near(city_map.ped_crossings, bounds_m)]
    paint: list[tuple[Surface, NDArrayFloat]] = []
    for surface, lines in (
        (Surface.LANE_LINE, city_map.lane_dividers),
        (Surface.ROAD_LINE, city_map.road_dividers),
    ):
        near = [lines[i] for i in _near(lines, bounds_m)]
        paint.append((surface, divider_quads(near, style, road=surface is Surface.ROAD_LINE)))
    points, directions = _lane_directions(lanes)
    for crossing in crossings:
        stripes, borders = crossing_paint(crossing, style, points, directions)
        if style.stripe_opacity > 0.05:
            paint.extend((Surface.STRIPE, outlines) for outlines in stripes)
        if style.border_opacity > 0.05:
            paint.extend((Surface.BORDER, outlines) for outlines in borders)
    return GroundPlan(
        tuple(_rings(w) for w in walkways),
        tuple((_rings(r.polygon), r.is_intersection) for r in roads),
        tuple(paint),
        style.edge_opacity > 0.05,
    )


def _near(
    shapes: Sequence[Polygon | LineString], bounds_m: tuple[float, float, float, float]
) -> list[int]:
    if not shapes:
        return []
    boxes = shapely.bounds(np.array(shapes, dtype=object))
    low_x, low_y, high_x, high_y = bounds_m
    inside = (
        (boxes[:, 0] <= high_x)
        & (boxes[:, 2] >= low_x)
        & (boxes[:, 1] <= high_y)
        & (boxes[:, 3] >= low_y)
    )
    return [int(i) for i in np.flatnonzero(inside)]


def _rings(polygon: Polygon) -> list[NDArrayFloat]:
    return [shapely.get_coordinates(r) for r in (polygon.exterior, *polygon.interiors)]


def _lane_directions(lanes: Iterable[LineString]) -> tuple[NDArrayFloat, NDArrayFloat]:
    """Midpoints and unit directions of the segments of the lanes' centre lines."""
    points, directions = [np.empty((0, 2))], [np.empty((0, 2))]
    for lane in lanes:
        xy = shapely.get_coordinates(lane)
        step = np.diff(xy, axis=0)
        length = np.linalg.norm(step, axis=1, keepdims=True)
        points.append((xy[1:] + xy[:-1]) / 2)
        directions.append(step / np.maximum(length, 1e-9))
    return np.concatenate(points), np.concatenate(directions)
