# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The layout of one road network: where streets run and which of them meet.

netgenerate lays out straight links. Some are left out, links that only continue each other become one street, corners
are rounded, and a smooth displacement field bends the whole.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from shapely.geometry import LineString, Point

from nexusflow.world.scene import NDArrayFloat
from nexusflow.world.sumo_cities import CityTraits
from nexusflow.world.sumo_tools import run_sumo

VERTEX_SPACING_M = 6.0
CLEARANCE_M = 45.0


@dataclass(frozen=True)
class Street:
    """A two-way street between two junctions.

    Attributes:
        name: Its two directed edges are ``name + '_f'`` (along ``shape_m``) and ``name + '_b'``.
        ends: Names of its first and last junction.
        shape_m: (P, 2) line between the two directions.
        forward: Roles of the lanes of the first direction, from the kerb to the middle.
        backward: The same for the second direction.
    """

    name: str
    ends: tuple[str, str]
    shape_m: NDArrayFloat
    forward: tuple[str, ...] = ()
    backward: tuple[str, ...] = ()

    @cached_property
    def line(self) -> LineString:
        """``shape_m`` as a line."""
        return LineString(self.shape_m)

    def roles(self, edge: str) -> tuple[str, ...]:
        """The lanes of one of the two directed edges, by its name."""
        return self.forward if edge.endswith('_f') else self.backward


def lay_out(traits: CityTraits, rng: np.random.Generator, folder: Path) -> list[Street]:
    """Streets without lanes, somewhere near the origin.

    Args:
        traits: The city.
        rng: Decides everything.
        folder: Where netgenerate writes its files.
    """
    streets = _topology(traits, rng, folder)
    if traits.is_grid:
        streets = _drop_links(streets, traits.dropped_links, rng)
    streets = _merge_bends(_drop_close(streets))
    bend = _Warp(rng, traits.warp_m)
    return [replace(s, shape_m=bend(_densify(s.shape_m))) for s in streets]


def _topology(traits: CityTraits, rng: np.random.Generator, folder: Path) -> list[Street]:
    """Links of a generated network, once for both directions, as streets without lanes."""
    seed = int(rng.integers(2**31))
    low, high = traits.block_m
    arguments = f'--seed {seed} --plain-output-prefix layout --output-file layout.net.xml'
    if traits.is_grid:
        x, y = rng.uniform(low, high, 2)
        arguments += f' --grid --grid.x-number 4 --grid.y-number 4 --grid.x-length {x:.1f}'
        arguments += f' --grid.y-length {y:.1f} --grid.attach-length 70'
    else:
        arguments += f' --rand --rand.iterations 26 --rand.min-distance {low}'
        arguments += f' --rand.max-distance {high} --rand.min-angle 65 --geometry.remove'
        arguments += ' --rand.neighbor-dist1 0 --rand.neighbor-dist2 2 --rand.neighbor-dist3 10'
    run_sumo('netgenerate', [*arguments.split(), '--no-warnings'], folder)
    nodes = {
        str(n.get('id')): np.array([float(n.get('x', 0)), float(n.get('y', 0))])
        for n in ElementTree.parse(folder / 'layout.nod.xml').getroot().iter('node')
    }
    links: dict[tuple[str, str], NDArrayFloat] = {}
    for edge in ElementTree.parse(folder / 'layout.edg.xml').getroot().iter('edge'):
        ends = str(edge.get('from')), str(edge.get('to'))
        inner = [[float(v) for v in p.split(',')[:2]] for p in edge.get('shape', '').split()]
        if ends[::-1] not in links and ends[0] != ends[1]:
            links[ends] = np.array([nodes[ends[0]], *inner[1:-1], nodes[ends[1]]])
    return [Street(f's{i}', e, links[e]) for i, e in enumerate(sorted(links))]


def degrees(streets: list[Street]) -> Counter[str]:
    """How many streets end at each junction."""
    return Counter(end for street in streets for end in street.ends)


def _is_connected(streets: list[Street]) -> bool:
    reached, frontier = {streets[0].ends[0]}, {streets[0].ends[0]}
    while frontier:
        touched = {e for s in streets if frontier & set(s.ends) for e in s.ends}
        frontier = touched - reached
        reached |= touched
    return reached == set(degrees(streets))


def _drop_links(streets: list[Street], share: float, rng: np.random.Generator) -> list[Street]:
    """Leave out links at random, keeping the network connected and without new dead ends."""
    kept = list(streets)
    for index in rng.permutation(len(streets))[: int(share * len(streets))]:
        street = streets[index]
        rest = [s for s in kept if s is not street]
        degree, before = degrees(rest), degrees(kept)
        dead_end = any(degree[e] == 1 and before[e] > 1 for e in street.ends)
        if not dead_end and _is_connected(rest):
            kept = rest
    return kept


def _merge_bends(streets: list[Street]) -> list[Street]:
    """Make one street of two that meet where no other does."""
    merged = list(streets)
    for node, degree in sorted(degrees(streets).items()):
        if degree != 2:
            continue
        first, second = (s for s in merged if node in s.ends)
        into = first.shape_m if first.ends[1] == node else first.shape_m[::-1]
        out = second.shape_m if second.ends[0] == node else second.shape_m[::-1]
        ends = (
            first.ends[0] if first.ends[1] == node else first.ends[1],
            second.ends[1] if second.ends[0] == node else second.ends[0],
        )
        if ends[0] != ends[1]:
            street = Street(first.name, ends, np.concatenate([into, out[1:]]))
            merged = [street if s is first else s for s in merged if s is not second]
    return merged


def _drop_close(streets: list[Street]) -> list[Street]:
    """Leave out streets that would run into another one away from their common junctions."""
    kept = sorted(streets, key=lambda s: -s.line.length)
    for street in reversed(list(kept)):
        rest = [s for s in kept if s is not street]
        if any(_is_close(street, other) for other in rest) and _is_connected(rest):
            kept = rest
    return sorted(kept, key=lambda s: int(s.name[1:]))


def _is_close(street: Street, other: Street) -> bool:
    """Whether two streets come close where they do not meet."""
    lines = [street.line, other.line]
    if lines[0].distance(lines[1]) >= CLEARANCE_M:
        return False
    common = [Point(street.shape_m[-i]) for i in (0, 1) if street.ends[-i] in other.ends]
    for point in common:
        lines = [line.difference(point.buffer(1.5 * CLEARANCE_M)) for line in lines]
    return bool(lines[0].distance(lines[1]) < CLEARANCE_M)


def _densify(shape_m: NDArrayFloat) -> NDArrayFloat:
    """Round the corners (Chaikin, 1974) and put a vertex every few metres."""
    if len(shape_m) > 2:
        for _ in range(4):
            a, b = shape_m[:-1], shape_m[1:]
            cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], axis=1).reshape(-1, 2)
            shape_m = np.concatenate([shape_m[:1], cut[1:-1], shape_m[-1:]])
    line = LineString(shape_m)
    count = max(2, int(line.length / VERTEX_SPACING_M))
    points = [line.interpolate(f, normalized=True) for f in np.linspace(0.0, 1.0, count)]
    return np.array([[p.x, p.y] for p in points])


class _Warp:
    """A smooth displacement field: a few sine waves in random directions."""

    def __init__(self, rng: np.random.Generator, amplitude_m: float) -> None:
        angle = rng.uniform(0.0, 2.0 * np.pi, 3)
        length = rng.uniform(220.0, 420.0, 3)
        self.waves = 2.0 * np.pi / length * np.stack([np.cos(angle), np.sin(angle)])
        self.phase = rng.uniform(0.0, 2.0 * np.pi, 3)
        push = rng.uniform(0.0, 2.0 * np.pi, 3)
        self.push = amplitude_m * np.stack([np.cos(push), np.sin(push)], axis=1)

    def __call__(self, points_m: NDArrayFloat) -> NDArrayFloat:
        moved: NDArrayFloat = points_m + np.sin(points_m @ self.waves + self.phase) @ self.push
        return moved
