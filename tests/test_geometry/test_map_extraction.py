# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The indexed extraction equals the straightforward one, record by record, on random maps.

The straightforward one is that of the benchmark. Maps with overlaps, islands, invalid polygons, lines that cross
themselves and records without geometry are compared with its exact order of steps, maps without touching polygons
with MapTR's own. Maps whose polygons touch along slanted edges have no exact answer in floating point; they are turned
copies of maps along the axes, which have one.
"""

import importlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import shapely

from nexusflow.geometry.frames import make_rigid
from nexusflow.geometry.map_expansion import layers_of_tables
from nexusflow.geometry.vector_map import MAP_CLASSES, MapIndex

TOOLS = Path(__file__).parents[2] / 'tools'
RANGE = (-15.0, -30.0, 15.0, 30.0)
NEAR_M = 1e-6
ROAD = ('road_segment', 'lane')


@pytest.fixture(scope='module')
def benchmarks():
    """The benchmark's tables and its straightforward version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        yield {
            name: getattr(importlib.import_module(f'benchmarks.{module}'), name)
            for module, name in (
                ('map_tables', 'MapTables'),
                ('record_by_record', 'RecordByRecord'),
            )
        }


def pose(x, y, yaw):
    c, s = np.cos(yaw), np.sin(yaw)
    return make_rigid([[c, -s, 0], [s, c, 0], [0, 0, 1]], [x, y, 0])


def rectangle(width, height):
    return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (width / 2, height / 2)


def turned(points, angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(points) @ np.array([[c, s], [-s, c]])


def polygon(corners, radius):
    angle = 2 * np.pi * np.arange(corners) / corners
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def add_overlapping(city, rng):
    """Bars of road, islands within rings, crossings, simple lines: all in general position."""
    for _ in range(40):
        size, angle = rng.uniform((4, 15), (12, 70)), rng.uniform(0, np.pi)
        outline = turned(rectangle(*size), angle) + rng.uniform(0, 130, 2)
        city.add_polygon(rng.choice(ROAD), outline)
    for _ in range(4):
        center, angle = rng.uniform(20, 110, 2), rng.uniform(0, 1)
        hole = center + turned(polygon(5, rng.uniform(2, 6)), angle)
        city.add_polygon('road_segment', center + polygon(8, rng.uniform(9, 20)), [hole])
    for _ in range(25):
        outline = turned(rectangle(4, 10), rng.uniform(0, np.pi)) + rng.uniform(0, 130, 2)
        city.add_polygon('ped_crossing', outline)
    for _ in range(15):
        x = np.linspace(0, rng.uniform(5, 90), 9)
        line = np.stack([x, 9 * np.sin(x / 9)], axis=1)
        line = turned(line, rng.uniform(0, 7)) + rng.uniform(0, 130, 2)
        city.add_line(rng.choice(('road_divider', 'lane_divider')), line)


def add_faults(city, rng):
    """Polygons and lines that cross themselves, and records without geometry."""
    for _ in range(6):
        layer = rng.choice((*ROAD, 'ped_crossing'))
        city.add_polygon(layer, rng.uniform(0, 130, 2) + rng.uniform(-12, 12, (5, 2)))
        line = rng.uniform(0, 130, 2) + rng.normal(0, 6, (7, 2)).cumsum(axis=0)
        city.add_line(rng.choice(('road_divider', 'lane_divider')), line)
    city.add_polygon('lane', [(1, 1), (9, 9)])
    city.add_line('lane_divider', np.zeros((0, 2)))


def touching_rectangles(rng):
    """Rectangles on a grid: they share edges, parts of edges, and meet in corners."""
    return [
        (rng.choice(ROAD), np.array([x, y]) + rectangle(w, h))
        for x, y, w, h in 5 * rng.integers((-13, -13, 1, 1), (13, 13, 5, 5), (40, 4))
    ]


def corners(line):
    """An element without the vertices that lie on the straight way between their neighbours."""
    closed = len(line) > 3 and bool(np.linalg.norm(line[0] - line[-1]) < NEAR_M)
    points = line[:-1] if closed else line
    while True:
        before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
        way, off = after - before, points - before
        area = np.abs(way[:, 0] * off[:, 1] - way[:, 1] * off[:, 0])
        idle = area < 1e-7 * np.maximum(np.linalg.norm(way, axis=1), 1e-9)
        if not closed:
            idle[[0, -1]] = False
        if not idle.any():
            return points, closed
        points = np.delete(points, idle.argmax(), axis=0)


def is_same(a, b):
    """Same vertices in the same direction; a ring may start anywhere."""
    (a, a_closed), (b, b_closed) = corners(a), corners(b)
    if a.shape != b.shape or a_closed != b_closed:
        return False
    starts = range(len(b)) if a_closed else [0]
    return any(np.abs(np.roll(b, -k, axis=0) - a).max() < NEAR_M for k in starts)


def assert_same(got, expected, corner_in_sight=False):
    """Each element has its counterpart; only the lines as a whole where outlines meet in a corner."""
    for name in MAP_CLASSES:
        if name == 'boundary' and corner_in_sight:
            assert_same_lines(got[name], expected[name])
            continue
        rest = list(got[name])
        for line in expected[name]:
            match = [k for k, other in enumerate(rest) if is_same(line, other)]
            assert match, f'{name}: no counterpart for {line}'
            rest.pop(match[0])
        assert not rest, f'{name}: too many: {rest}'


def assert_same_lines(got, expected):
    """The same lines, cut into elements in whatever way."""
    a, b = ([shapely.linestrings(line) for line in lines] for lines in (got, expected))
    assert shapely.hausdorff_distance(shapely.union_all(a), shapely.union_all(b)) < NEAR_M
    np.testing.assert_allclose(sum(shapely.length(a)), sum(shapely.length(b)), atol=1e-4)


class Corners:
    """Where outlines meet in a point; which ring goes where there may depend on what lies beyond the patch.

    Args:
        index: A map's index.
        center: Middle of the map.
    """

    def __init__(self, index, center):
        rings = index.extract(pose(*center, 0), (-900, -900, 900, 900))['boundary']
        points = np.concatenate([np.zeros((0, 2)), *(ring[:-1] for ring in rings)])
        place, count = np.unique(np.round(points, 6), axis=0, return_counts=True)
        self._points = place[count > 1] + center

    def in_sight(self, x, y, yaw):
        local = turned(self._points - (x, y), -yaw)
        return bool(((local >= RANGE[:2]) & (local <= RANGE[2:])).all(axis=1).any())


def random_poses(rng, count):
    return [(*rng.uniform(15, 115, 2), rng.uniform(-np.pi, np.pi)) for _ in range(count)]


@pytest.mark.parametrize('clip_first', [False, True])
@pytest.mark.parametrize('seed', range(8))
def test_random_maps(benchmarks, seed, clip_first):
    """MapTR's order of steps gets no polygons that touch, as the parts of a repaired one do."""
    rng = np.random.default_rng(seed)
    city = benchmarks['MapTables']()
    add_overlapping(city, rng)
    if not clip_first:
        add_faults(city, rng)
    index = MapIndex(layers_of_tables(city.tables))
    plain = benchmarks['RecordByRecord'](city.tables, clip_first)
    if not clip_first:
        assert sum(index.num_repaired.values()) > 0
        assert index.num_unusable == {'road_surface': 1, 'dividers': 1}
    elements, met = Counter(), Corners(index, (65, 65))
    for place in random_poses(rng, 8):
        got = index.extract(pose(*place), RANGE)
        assert_same(got, plain.extract(*place, RANGE), met.in_sight(*place))
        elements.update({name: len(lines) for name, lines in got.items()})
    assert min(elements[name] for name in MAP_CLASSES) > 10


@pytest.mark.parametrize('layer', ['road', 'ped_crossing', 'divider'])
def test_empty_layers(benchmarks, layer):
    rng = np.random.default_rng(0)
    city = benchmarks['MapTables']()
    add_overlapping(city, rng)
    dropped = {'road': ROAD, 'divider': ('road_divider', 'lane_divider')}.get(layer, (layer,))
    tables = city.tables | {name: [] for name in dropped}
    index = MapIndex(layers_of_tables(tables))
    got = index.extract(pose(65, 65, 1), RANGE)
    assert_same(got, benchmarks['RecordByRecord'](tables).extract(65, 65, 1, RANGE))
    assert got['boundary' if layer == 'road' else layer] == []


@pytest.mark.parametrize('seed', range(8))
def test_touching_polygons(benchmarks, seed):
    """Along the axes: as the straightforward version. Turned: as along the axes."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi)
    straight, slanted = benchmarks['MapTables'](), benchmarks['MapTables']()
    for layer, outline in touching_rectangles(rng):
        straight.add_polygon(layer, outline + 200)
        slanted.add_polygon(layer, turned(outline, angle) + 1000)
    along, across = (MapIndex(layers_of_tables(city.tables)) for city in (straight, slanted))
    plain, met = benchmarks['RecordByRecord'](straight.tables, False), Corners(along, (200, 200))
    compared_whole = 0
    for _ in range(8):
        place, yaw = rng.uniform(-50, 50, 2), rng.uniform(-np.pi, np.pi)
        corner = met.in_sight(*(place + 200), yaw)
        expected = plain.extract(*(place + 200), yaw, RANGE)
        assert_same(along.extract(pose(*(place + 200), yaw), RANGE), expected, corner)
        place = turned(place, angle) + 1000
        assert_same(across.extract(pose(*place, yaw + angle), RANGE), expected, corner)
        compared_whole += not corner
    assert compared_whole > 0
