# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""From a SUMO network to the map layers of a city, consistent with each other."""

from __future__ import annotations

from itertools import groupby, pairwise

from shapely.geometry import LineString, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from nexusflow.world.scene import CityMap, RoadSegment
from nexusflow.world.sumo_network import NetLane, RoadNet
from nexusflow.world.sumo_plan import BIKE, DRIVE, MEDIAN, PARKING, SIDEWALK

SMOOTH_M = 0.4
OVERLAP_M = 0.6
TOLERANCE_M = 0.06
SLIVER_M2 = 4.0


def city_map(net: RoadNet) -> CityMap:
    """All map layers of a network.

    The road surface is made once, as a whole, and then cut into segments that overlap a little: their
    union has the kerb as its only boundary, without slivers where lanes meet junctions.
    """
    roadway = _roadway(net)
    drive = [lane for lane in net.lanes if lane.role == DRIVE]
    lanes = [_largest(lane.polygon().intersection(roadway)) for lane in drive]
    pavement = [lane.polygon(0.05) for lane in net.lanes if lane.role == SIDEWALK]
    return CityMap(
        location=net.plan.traits.location,
        road_segments=tuple(_segments(net, roadway)),
        lanes=tuple(lanes),
        ped_crossings=tuple(
            part for c in net.crossings for part in _parts(c.intersection(roadway.buffer(0.2)))
        ),
        walkways=tuple(
            part for p in (*pavement, *net.walking_areas) for part in _parts(p.difference(roadway))
        ),
        road_dividers=tuple(_road_dividers(net)),
        lane_dividers=tuple(_lane_dividers(net)),
        lane_centerlines=tuple(LineString(lane.line_m) for lane in drive),
    )


def _parts(geometry: BaseGeometry, least_m2: float = SLIVER_M2) -> list[Polygon]:
    """The polygons of a geometry that are large enough to matter."""
    pieces = getattr(geometry, 'geoms', [geometry])
    return [p for p in pieces if isinstance(p, Polygon) and p.area >= least_m2]


def _largest(geometry: BaseGeometry) -> Polygon:
    return max(_parts(geometry, 0.0), key=lambda p: p.area)


def _roadway(net: RoadNet) -> Polygon:
    """What vehicles may stand on: lanes with parking and bicycle lanes, junctions without pavement."""
    lanes = [lane.polygon(0.05) for lane in net.lanes if lane.role in (DRIVE, BIKE, PARKING)]
    pavement = unary_union(net.walking_areas)
    cores = []
    for junction in net.junctions:
        core = junction.difference(pavement).buffer(-1.0).buffer(1.0, join_style='mitre')
        cores.extend(_parts(core.intersection(junction), 10.0))
    road = unary_union([*lanes, *cores])
    road = road.buffer(SMOOTH_M, 4).buffer(-2 * SMOOTH_M, 4).buffer(SMOOTH_M, 4)
    whole = _largest(road.simplify(TOLERANCE_M))
    islands = [r for r in whole.interiors if Polygon(r).area >= SLIVER_M2]
    return Polygon(whole.exterior, islands)


def _segments(net: RoadNet, roadway: Polygon) -> list[RoadSegment]:
    """The road surface, street by street and junction by junction."""
    segments = []
    surface = [lane for lane in net.lanes if lane.role in (DRIVE, BIKE, PARKING)]
    for _, group in groupby(surface, key=lambda lane: lane.edge.split('_')[0]):
        outline = unary_union([lane.polygon(OVERLAP_M) for lane in group])
        segments += [RoadSegment(p) for p in _parts(outline.intersection(roadway))]
    for junction in net.junctions:
        outline = junction.buffer(OVERLAP_M, join_style='mitre')
        segments += [RoadSegment(p, True) for p in _parts(outline.intersection(roadway))]
    return segments


def _inner_line(lane: NetLane, net: RoadNet) -> LineString:
    """The border of a lane towards the middle of the street."""
    side = -1.0 if net.plan.traits.left_hand else 1.0
    return LineString(lane.parallel_m(side * lane.width_m / 2)).simplify(TOLERANCE_M / 2)


def _lane_dividers(net: RoadNet) -> list[LineString]:
    """Painted lines between the lanes of one direction, bicycle lanes included."""
    return [
        _inner_line(outer, net)
        for outer, inner in pairwise(net.lanes)
        if outer.edge == inner.edge and outer.role in (DRIVE, BIKE) and inner.role == DRIVE
    ]


def _road_dividers(net: RoadNet) -> list[LineString]:
    """The line between the directions, once per street, where no island divides them."""
    inner = {lane.edge: lane for lane in net.lanes}
    return [
        _inner_line(lane, net)
        for edge, lane in inner.items()
        if edge.endswith('_f') and lane.role != MEDIAN
    ]
