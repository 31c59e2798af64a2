# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The plan of one road network, and the network that netconvert builds of it.

Each street of the layout gets a cross section of its own; netconvert then builds lanes, junctions, crossings and
walking areas.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nexusflow.world.scene import NDArrayFloat
from nexusflow.world.sumo_cities import CityTraits
from nexusflow.world.sumo_layout import Street, degrees, lay_out
from nexusflow.world.sumo_tools import run_sumo

SIDEWALK, PARKING, BIKE, DRIVE, MEDIAN = 'sidewalk', 'parking', 'bike', 'drive', 'median'
WIDTHS_M = {SIDEWALK: 2.5, PARKING: 2.4, BIKE: 1.7, MEDIAN: 0.9}
MARGIN_M = 60.0


@dataclass(frozen=True)
class Plan:
    """A network before SUMO builds it: streets, and which junctions have traffic lights."""

    traits: CityTraits
    streets: tuple[Street, ...]
    nodes_m: dict[str, NDArrayFloat]
    signals: frozenset[str]


def draw_plan(traits: CityTraits, origin_m: tuple[float, float], seed: int, folder: Path) -> Plan:
    """Lay out a network.

    Args:
        traits: The city.
        origin_m: Lower left corner of the network, global frame.
        seed: Decides everything.
        folder: Where netgenerate writes its files.

    Returns:
        The plan, in the global frame.
    """
    rng = np.random.default_rng(seed)
    streets = lay_out(traits, rng, folder)
    shift = np.asarray(origin_m) - np.min([s.shape_m.min(axis=0) for s in streets], axis=0)
    streets = [replace(s, shape_m=np.round(s.shape_m + shift + MARGIN_M, 2)) for s in streets]
    streets = [_cross_section(s, traits, rng) for s in streets]
    nodes = {s.ends[0]: s.shape_m[0] for s in streets}
    nodes.update({s.ends[1]: s.shape_m[-1] for s in streets})
    degree = degrees(streets)
    signals = {n for n in sorted(nodes) if rng.random() < traits.signal_share and degree[n] >= 3}
    return Plan(traits, tuple(streets), nodes, frozenset(signals))


def build_net(plan: Plan, folder: Path) -> Path:
    """Have netconvert build the plan.

    Returns:
        The network file, in ``folder``.
    """
    _write_nodes(plan, folder / 'plan.nod.xml')
    _write_edges(plan, folder / 'plan.edg.xml')
    arguments = '--node-files plan.nod.xml --edge-files plan.edg.xml --output-file city.net.xml'
    arguments += ' --offset.disable-normalization --no-turnarounds --crossings.guess'
    arguments += ' --junctions.limit-turn-speed 3.0'
    arguments += ' --walkingareas --default.junctions.radius 5.5 --junctions.corner-detail 8'
    arguments += ' --junctions.internal-link-detail 12 --default.crossing-width 3.5'
    arguments += ' --no-warnings --precision 3 --xml-validation never'
    arguments += ' --lefthand' if plan.traits.left_hand else ''
    run_sumo('netconvert', arguments.split(), folder)
    return folder / 'city.net.xml'


def _cross_section(street: Street, traits: CityTraits, rng: np.random.Generator) -> Street:
    """Give both directions of a street their lanes."""
    lanes = 1 + int(rng.choice(3, p=traits.lane_shares))
    fewer = lanes > 1 and rng.random() < 0.2
    median = (MEDIAN,) if lanes > 1 and rng.random() < traits.median_share else ()
    sides = []
    for count in (lanes, lanes - 1 if fewer else lanes):
        kerb: tuple[str, ...] = ()
        if rng.random() < traits.parking_share:
            kerb = (PARKING,)
        elif rng.random() < traits.bike_lane_share:
            kerb = (BIKE,)
        sides.append((SIDEWALK, *kerb, *(DRIVE,) * count, *median))
    return replace(street, forward=sides[0], backward=sides[1])


def _write_nodes(plan: Plan, path: Path) -> None:
    root = ElementTree.Element('nodes')
    for name, (x, y) in sorted(plan.nodes_m.items()):
        kind = 'traffic_light' if name in plan.signals else 'priority'
        ElementTree.SubElement(root, 'node', id=name, x=f'{x:.2f}', y=f'{y:.2f}', type=kind)
    ElementTree.ElementTree(root).write(path, encoding='utf-8')


def _write_edges(plan: Plan, path: Path) -> None:
    root = ElementTree.Element('edges')
    for street in plan.streets:
        for suffix, ends, shape in (
            ('_f', street.ends, street.shape_m),
            ('_b', street.ends[::-1], street.shape_m[::-1]),
        ):
            lanes = street.roles(suffix)
            edge = ElementTree.SubElement(root, 'edge', id=street.name + suffix, spreadType='right')
            edge.set('from', ends[0])
            edge.set('to', ends[1])
            edge.set('numLanes', str(len(lanes)))
            edge.set('shape', ' '.join(f'{x:.2f},{y:.2f}' for x, y in shape))
            for index, role in enumerate(lanes):
                lane = {'index': str(index), **_lane(role, plan.traits)}
                ElementTree.SubElement(edge, 'lane', lane)
    ElementTree.ElementTree(root).write(path, encoding='utf-8')


def _lane(role: str, traits: CityTraits) -> dict[str, str]:
    """Attributes of a lane element: who may use it, how wide, how fast."""
    attributes = {'width': str(lane_width_m(role, traits))}
    if role == SIDEWALK:
        attributes['allow'] = 'pedestrian'
    elif role == BIKE:
        attributes['allow'] = 'bicycle'
    elif role == DRIVE:
        attributes |= {'disallow': 'pedestrian', 'speed': str(traits.speed_mps)}
    else:
        attributes['disallow'] = 'all'
    return attributes


def lane_width_m(role: str, traits: CityTraits) -> float:
    """Width of a lane of this role in this city."""
    return traits.lane_width_m if role == DRIVE else WIDTHS_M[role]
