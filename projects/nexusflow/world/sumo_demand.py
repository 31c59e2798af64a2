# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Who wants to go where: the routes file of a SUMO simulation."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from nexusflow.world.scene import NDArrayFloat
from nexusflow.world.sumo_cities import HITCH_GAP_M, KINDS, CityTraits, Kind
from nexusflow.world.sumo_network import RoadNet

FILL_S = 25.0
ROUTE_EDGES = 24
RIDE_S = 140.0
WALK_S = 260.0


def write_routes(net: RoadNet, duration_s: float, rng: np.random.Generator, path: Path) -> None:
    """Write vehicle types, vehicles and pedestrians for a simulation.

    At first the streets are filled at random places; then vehicles enter where streets end, at the rate at which
    they leave. Vehicles wander from junction to junction.

    Args:
        net: The network.
        duration_s: Simulated time.
        rng: Decides everything.
        path: Routes file to write.
    """
    traits = net.plan.traits
    root = ElementTree.Element('routes')
    for kind in KINDS.values():
        _add_type(root, kind, traits)
    length_km = sum(_length_m(s.shape_m) for s in net.plan.streets) / 1000.0
    people = [
        *_vehicles(net, round(traits.vehicles_per_km * length_km), duration_s, rng),
        *_pedestrians(net, round(traits.pedestrians_per_km * length_km), duration_s, rng),
    ]
    root.extend(sorted(people, key=lambda e: float(e.get('depart', 0))))
    ElementTree.ElementTree(root).write(path, encoding='utf-8')


def _length_m(points: NDArrayFloat) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def _add_type(root: ElementTree.Element, kind: Kind, traits: CityTraits) -> None:
    width, length, height = kind.size_wlh_m
    element = ElementTree.SubElement(root, 'vType', id=kind.name, vClass=kind.sumo_class)
    element.set('maxSpeed', str(kind.max_speed_mps))
    if kind.sumo_class == 'pedestrian':
        return
    if kind.trailer_wlh_m:
        length += HITCH_GAP_M + kind.trailer_wlh_m[1]
    element.set('length', f'{length:.2f}')
    element.set('width', str(width))
    element.set('height', str(height))
    element.set('sigma', '0.4')
    if kind.name == 'bicycle':
        element.set('latAlignment', 'left' if traits.left_hand else 'right')


def _departures(
    count: int, stay_s: float, duration_s: float, rng: np.random.Generator
) -> list[float]:
    """First ``count`` times to fill the streets, then as many a second as leave them."""
    fill = rng.uniform(0.0, FILL_S, count)
    later = rng.uniform(FILL_S, duration_s, round(count * (duration_s - FILL_S) / stay_s))
    return [round(float(t), 1) for t in (*sorted(fill), *sorted(later))]


def _vehicles(
    net: RoadNet, count: int, duration_s: float, rng: np.random.Generator
) -> list[ElementTree.Element]:
    names, shares = zip(*sorted(net.plan.traits.mix.items()), strict=True)
    weights = np.array(shares) / sum(shares)
    inner = [e for e, follow in net.successors.items() if follow]
    ends = [s.ends for s in net.plan.streets]
    degree = {node: sum(node in pair for pair in ends) for pair in ends for node in pair}
    entries = [
        street.name + suffix
        for street in net.plan.streets
        for suffix, node in (('_f', street.ends[0]), ('_b', street.ends[1]))
        if degree[node] == 1
    ]
    found = []
    for index, depart in enumerate(_departures(count, RIDE_S, duration_s, rng)):
        fills = depart < FILL_S
        start = str(rng.choice(inner if fills or not entries else entries))
        kind = str(rng.choice(names, p=weights))
        vehicle = ElementTree.Element('vehicle', id=f'{kind}_{index}', type=kind)
        vehicle.set('depart', f'{depart:.1f}')
        vehicle.set('departLane', 'best')
        vehicle.set('departPos', 'random_free' if fills else 'base')
        vehicle.set('departSpeed', 'avg')
        route = ' '.join(_wander(net, start, rng))
        ElementTree.SubElement(vehicle, 'route', edges=route)
        found.append(vehicle)
    return found


def _wander(net: RoadNet, start: str, rng: np.random.Generator) -> list[str]:
    """A walk over the edges that likes to stay in town and to turn."""
    route = [start]
    while len(route) < ROUTE_EDGES and net.successors[route[-1]]:
        follow = net.successors[route[-1]]
        weights = np.array([1.0 if net.successors[e] else 0.25 for e in follow])
        route.append(str(rng.choice(follow, p=weights / weights.sum())))
    return route


def _pedestrians(
    net: RoadNet, count: int, duration_s: float, rng: np.random.Generator
) -> list[ElementTree.Element]:
    kinds = sorted(k.name for k in KINDS.values() if k.sumo_class == 'pedestrian')
    edges = sorted(net.successors)
    found = []
    for index, depart in enumerate(_departures(count, WALK_S, duration_s, rng)):
        kind = str(rng.choice(kinds))
        start, goal = (str(e) for e in rng.choice(edges, 2, replace=False))
        person = ElementTree.Element('person', id=f'{kind}_{index}', type=kind)
        person.set('depart', f'{depart:.1f}')
        person.set('departPos', 'random')
        walk = ElementTree.SubElement(person, 'walk', arrivalPos='random')
        walk.set('from', start)
        walk.set('to', goal)
        found.append(person)
    return found
