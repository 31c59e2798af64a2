# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""From the vector map of an Argoverse 2 log to the map layers of a city.

Argoverse maps have no pavements: ``walkways`` stays empty. Lane marks are given by both of the lanes that share
them, and nuScenes wants each line once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from shapely import make_valid
from shapely.affinity import translate
from shapely.geometry import LineString, MultiPoint, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.ops import linemerge, unary_union

from nexusflow.geometry.av2_map import Av2Lane, load_av2_records
from nexusflow.world.scene import CityMap, NDArrayFloat, RoadSegment

MARGIN_M: Final = 50.0
SMOOTH_M: Final = 0.3
OVERLAP_M: Final = 0.3
TOLERANCE_M: Final = 0.08
SLIVER_M2: Final = 4.0
SAME_LINE_M: Final = 0.5
FRESH_SHARE: Final = 0.3
_UNPAINTED: Final = ('NONE', 'UNKNOWN')
MIDDLE_POINTS: Final = 11


def read_av2_map(path: Path, location: str) -> tuple[CityMap, tuple[float, float]]:
    """Read a log's map.

    Args:
        path: The log's ``log_map_archive_*.json``.
        location: nuScenes location name to give it.

    Returns:
        The map, moved so that its lower left corner has positive coordinates, and the move (x, y) itself.

    Raises:
        ValueError: If the file is not JSON or lacks a field; names both.
    """
    records = load_av2_records(path)
    if not records.areas:
        raise ValueError(f"{path}: field 'drivable_areas' is empty")
    areas = [_polygon(ring) for ring in records.areas]
    crossings = [MultiPoint(edges.reshape(-1, 2)).convex_hull for edges in records.crossings]
    return _build(areas, records.lanes, crossings, location)


def _build(
    areas: list[BaseGeometry],
    lanes: Mapping[str, Av2Lane],
    crossings: list[Polygon],
    location: str,
) -> tuple[CityMap, tuple[float, float]]:
    road = unary_union(areas)
    road = road.buffer(SMOOTH_M, 4).buffer(-2 * SMOOTH_M, 4).buffer(SMOOTH_M, 4)
    road = road.simplify(TOLERANCE_M)
    x, y = road.bounds[:2]
    dx, dy = round(MARGIN_M - x, 1), round(MARGIN_M - y, 1)
    drive = []
    for lane in lanes.values():
        parts = _parts(_surface(lane).intersection(road))
        if lane.kind != 'BIKE' and not lane.is_intersection and parts:
            middle = LineString(lane.middle(MIDDLE_POINTS))
            drive.append((max(parts, key=lambda p: p.area), middle))
    road_dividers, lane_dividers = _dividers(lanes, road.boundary)
    junctions = unary_union([_surface(lane) for lane in lanes.values() if lane.is_intersection])
    segments = [
        RoadSegment(part, crosses)
        for outlines, crosses in ((areas, False), ([junctions], True))
        for outline in outlines
        for part in _parts(outline.buffer(OVERLAP_M).intersection(road))
    ]
    city_map = CityMap(
        location=location,
        road_segments=tuple(
            RoadSegment(translate(s.polygon, dx, dy), s.is_intersection) for s in segments
        ),
        lanes=tuple(translate(polygon, dx, dy) for polygon, _ in drive),
        ped_crossings=tuple(translate(c, dx, dy) for c in crossings),
        road_dividers=tuple(translate(line, dx, dy) for line in road_dividers),
        lane_dividers=tuple(translate(line, dx, dy) for line in lane_dividers),
        lane_centerlines=tuple(translate(line, dx, dy) for _, line in drive),
    )
    return city_map, (dx, dy)


def _polygon(ring: NDArrayFloat) -> BaseGeometry:
    """The surface inside a ring, also if the ring crosses itself."""
    return unary_union(_parts(make_valid(Polygon(ring)), 0.0))


def _parts(geometry: BaseGeometry, least_m2: float = SLIVER_M2) -> list[Polygon]:
    """The polygons of a geometry that are large enough to matter."""
    flat: list[BaseGeometry] = []
    for piece in getattr(geometry, 'geoms', [geometry]):
        flat += getattr(piece, 'geoms', [piece])
    return [p for p in flat if isinstance(p, Polygon) and p.area >= least_m2]


def _surface(lane: Av2Lane) -> BaseGeometry:
    return _polygon(np.concatenate([lane.left, lane.right[::-1]]))


def _dividers(
    lanes: Mapping[str, Av2Lane], kerb: BaseGeometry
) -> tuple[list[LineString], list[LineString]]:
    """Painted lines outside junctions: between directions (or yellow), and between lanes; not along the kerb."""
    found: dict[bool, list[LineString]] = {True: [], False: []}
    zone = kerb.buffer(SAME_LINE_M)
    for divides, line in sorted(_marks(lanes), key=lambda mark: not mark[0]):
        fresh = line.difference(zone)
        for other in (*found[True], *found[False]):
            fresh = fresh.difference(other.buffer(SAME_LINE_M))
        if fresh.length > FRESH_SHARE * line.length:
            found[divides].append(line)
    return _merged(found[True]), _merged(found[False])


def _marks(lanes: Mapping[str, Av2Lane]) -> Iterator[tuple[bool, LineString]]:
    """(Whether it divides the directions, line) of each painted border of each lane."""
    for lane in lanes.values():
        if lane.is_intersection:
            continue
        for border, paint, neighbor in (
            (lane.left, lane.left_paint, lane.left_neighbor),
            (lane.right, lane.right_paint, lane.right_neighbor),
        ):
            line = LineString(border)
            if paint in _UNPAINTED or line.length < SAME_LINE_M:
                continue
            beside = lanes.get(neighbor)
            opposite = beside is not None and float(_course(lane) @ _course(beside)) < 0.0
            yield opposite or 'YELLOW' in paint, line


def _course(lane: Av2Lane) -> NDArrayFloat:
    """From the start of a lane to its end."""
    return np.asarray(lane.left[-1] - lane.left[0])


def _merged(lines: list[LineString]) -> list[LineString]:
    """Lines that touch end to end become one."""
    if not lines:
        return []
    merged = linemerge(lines)
    return [line.simplify(TOLERANCE_M / 2) for line in getattr(merged, 'geoms', [merged])]
