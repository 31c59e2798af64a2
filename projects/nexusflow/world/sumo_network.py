# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A road network as SUMO built it: lanes with their roles, junctions, crossings, and who leads where."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from shapely.geometry import LineString, Polygon

from nexusflow.world.scene import NDArrayFloat
from nexusflow.world.sumo_plan import DRIVE, Plan, lane_width_m


@dataclass(frozen=True)
class NetLane:
    """One lane of a street.

    Attributes:
        edge: Directed edge that it belongs to.
        index: Place in the edge, from the kerb.
        role: One of the roles of ``sumo_plan``.
        width_m: Width.
        line_m: (P, 2) centre line in driving direction, global frame.
    """

    edge: str
    index: int
    role: str
    width_m: float
    line_m: NDArrayFloat

    def polygon(self, margin_m: float = 0.0) -> Polygon:
        """The lane's surface, widened by a margin on both sides."""
        half = self.width_m / 2 + margin_m
        return LineString(self.line_m).buffer(half, cap_style='flat', join_style='mitre')

    def parallel_m(self, offset_m: float) -> NDArrayFloat:
        """The centre line moved sideways, positive to the left of the driving direction."""
        step = np.diff(self.line_m, axis=0)
        step /= np.linalg.norm(step, axis=1, keepdims=True)
        tangent = np.concatenate([step[:1], step[:-1] + step[1:], step[-1:]])
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
        bend = np.sum(tangent * np.concatenate([step, step[-1:]]), axis=1, keepdims=True)
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) / bend
        moved: NDArrayFloat = self.line_m + offset_m * normal
        return moved


@dataclass(frozen=True)
class RoadNet:
    """A built network, in the global frame.

    Attributes:
        plan: What was asked for.
        lanes: All lanes of streets, sorted by edge and index.
        junctions: Outlines of junctions, corners of the pavement included.
        walking_areas: Pavement at the junctions.
        crossings: Zebra crossings.
        successors: For each edge, the edges that a vehicle may go on to.
        dead_ends_m: (D, 2) places where a street ends.
    """

    plan: Plan
    lanes: tuple[NetLane, ...]
    junctions: tuple[Polygon, ...]
    walking_areas: tuple[Polygon, ...]
    crossings: tuple[Polygon, ...]
    successors: dict[str, tuple[str, ...]]
    dead_ends_m: NDArrayFloat


def read_net(path: Path, plan: Plan) -> RoadNet:
    """Read the network that netconvert built from a plan."""
    root = ElementTree.parse(path).getroot()
    roles = {s.name + end: s.roles(end) for s in plan.streets for end in ('_f', '_b')}
    lanes: list[NetLane] = []
    walking: list[Polygon] = []
    crossings: list[Polygon] = []
    for edge in root.iter('edge'):
        name, function = str(edge.get('id')), edge.get('function', 'normal')
        for lane in edge.iter('lane'):
            line = _points(lane.get('shape', ''))
            if function == 'normal':
                index = int(lane.get('index', 0))
                role = roles[name][index]
                width = lane_width_m(role, plan.traits)
                lanes.append(NetLane(name, index, role, width, line))
            elif function == 'walkingarea':
                walking.append(Polygon(line).buffer(0))
            elif function == 'crossing':
                half = float(lane.get('width', 3.5)) / 2
                crossings.append(LineString(line).buffer(half, cap_style='flat'))
    junctions = [
        Polygon(_points(j.get('shape', ''))).buffer(0)
        for j in root.iter('junction')
        if j.get('type') not in ('internal', 'dead_end') and len(j.get('shape', '').split()) > 2
    ]
    lanes.sort(key=lambda lane: (lane.edge, lane.index))
    return RoadNet(
        plan,
        tuple(lanes),
        tuple(junctions),
        tuple(walking),
        tuple(crossings),
        _successors(root, roles),
        _dead_ends(plan),
    )


def _points(shape: str) -> NDArrayFloat:
    """SUMO's 'x,y x,y ...' as an array, without repeated points."""
    points = np.array([[float(v) for v in p.split(',')[:2]] for p in shape.split()])
    keep = np.ones(len(points), dtype=bool)
    keep[1:] = np.linalg.norm(np.diff(points, axis=0), axis=1) > 1e-3
    kept: NDArrayFloat = points[keep]
    return kept


def _successors(
    root: ElementTree.Element, roles: dict[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Edges reachable from the driving lanes of each edge."""
    found: dict[str, set[str]] = {name: set() for name in roles}
    for link in root.iter('connection'):
        source, target = str(link.get('from')), str(link.get('to'))
        if source in roles and target in roles:
            ends = (
                roles[source][int(link.get('fromLane', 0))],
                roles[target][int(link.get('toLane', 0))],
            )
            if ends == (DRIVE, DRIVE):
                found[source].add(target)
    return {name: tuple(sorted(found[name])) for name in sorted(found)}


def _dead_ends(plan: Plan) -> NDArrayFloat:
    ends = [end for street in plan.streets for end in street.ends]
    found = [plan.nodes_m[name] for name in sorted(set(ends)) if ends.count(name) == 1]
    return np.array(found, dtype=np.float64).reshape(-1, 2)
