# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""MapTR's rules on hand-made maps, and against a plain record-by-record version of them."""

import numpy as np
import pytest
import shapely
from shapely import affinity, ops
from shapely.geometry import LinearRing, LineString, MultiLineString, MultiPolygon, Polygon, box

from nexusflow.geometry.frames import make_rigid
from nexusflow.geometry.polylines import is_closed, line_lengths
from nexusflow.geometry.vector_map import MAP_CLASSES, MapIndex, MapLayers

RANGE = (-15.0, -30.0, 15.0, 30.0)


def pose(x=0.0, y=0.0, yaw=0.0):
    c, s = np.cos(yaw), np.sin(yaw)
    return make_rigid([[c, -s, 0], [s, c, 0], [0, 0, 1]], [x, y, 0])


def spans(lines):
    """Bounds of each line, rounded, sorted."""
    return sorted(tuple(np.round([*v.min(0), *v.max(0)], 6)) for v in lines)


def test_straight_road_gives_open_edges_and_a_clipped_divider():
    layers = MapLayers(
        road_surface=[box(-4, -200, 4, 200), box(0, -200, 4, 200)],
        dividers=[LineString([(0, -200), (0, 200)])],
    )
    out = MapIndex(layers).extract(pose(), RANGE)
    assert spans(out['divider']) == [(0, -30, 0, 30)]
    assert spans(out['boundary']) == [(-4, -29.8, -4, 29.8), (4, -29.8, 4, 29.8)]
    assert out['ped_crossing'] == []
    left, right = sorted(out['boundary'], key=lambda v: v[0, 0])
    assert left[0, 1] < left[-1, 1], 'clockwise: the road lies to the right of its left edge'
    assert right[0, 1] > right[-1, 1]


def test_output_is_in_the_lidar_frame():
    layers = MapLayers(dividers=[LineString([(100, 50), (100, 60)])])
    out = MapIndex(layers).extract(pose(95, 50, np.pi / 2), RANGE)
    np.testing.assert_allclose(out['divider'][0], [[0, -5], [10, -5]], atol=1e-9)


def test_divider_that_leaves_and_returns_becomes_two():
    line = LineString([(0, 0), (20, 0), (20, 10), (0, 10)])
    touching = LineString([(15, 20), (25, 20)])
    out = MapIndex(MapLayers(dividers=[line, touching])).extract(pose(), RANGE)
    assert spans(out['divider']) == [(0, 0, 15, 0), (0, 10, 15, 10)]


def test_crossing_cut_by_the_patch_edge_is_a_ring_with_that_edge():
    out = MapIndex(MapLayers(ped_crossings=[box(10, -2, 20, 2)])).extract(pose(), RANGE)
    (ring,) = out['ped_crossing']
    assert is_closed([ring]).all()
    assert spans([ring]) == [(10, -2, 15, 2)]
    assert not LinearRing(ring).is_ccw
    assert line_lengths([ring])[0] == pytest.approx(18)


def test_touching_crossings_are_joined():
    crossings = [box(-4, 0, 0, 3), box(0, 0, 4, 3), box(-4, 10, 4, 13)]
    out = MapIndex(MapLayers(ped_crossings=crossings)).extract(pose(), RANGE)
    assert spans(out['ped_crossing']) == [(-4, 0, 4, 3), (-4, 10, 4, 13)]


def test_island_is_a_counter_clockwise_ring():
    road = box(-12, -100, 12, 100).difference(box(-2, -5, 2, 5))
    out = MapIndex(MapLayers(road_surface=[road])).extract(pose(), RANGE)
    closed = is_closed(out['boundary'])
    assert closed.sum() == 1 and len(closed) == 3
    ring = out['boundary'][int(closed.argmax())]
    assert spans([ring]) == [(-2, -5, 2, 5)]
    assert LinearRing(ring).is_ccw


def test_island_at_the_patch_edge_is_open():
    road = box(-12, -100, 12, 100).difference(box(-2, 25, 2, 40))
    out = MapIndex(MapLayers(road_surface=[road])).extract(pose(), RANGE)
    assert not is_closed(out['boundary']).any()
    assert (-2, 25, 2, 29.8) in spans(out['boundary'])


def test_t_junction_has_three_lines():
    roads = [box(-4, -100, 4, 100), box(4, -3, 100, 3), box(-4, -3, 4, 3)]
    out = MapIndex(MapLayers(road_surface=roads)).extract(pose(), RANGE)
    assert spans(out['boundary']) == [
        (-4, -29.8, -4, 29.8),
        (4, -29.8, 14.8, -3),
        (4, 3, 14.8, 29.8),
    ]


def test_nothing_near():
    layers = MapLayers([box(0, 0, 5, 5)], [box(1, 1, 2, 2)], [LineString([(0, 0), (9, 9)])])
    for index in (MapIndex(layers), MapIndex(MapLayers())):
        assert index.extract(pose(500, 500), RANGE) == {name: [] for name in MAP_CLASSES}


def test_invalid_polygons_are_repaired_and_counted():
    bow_tie = Polygon([(-4, -4), (4, 4), (4, -4), (-4, 4)])
    index = MapIndex(MapLayers(road_surface=[bow_tie, box(8, 0, 9, 1)], ped_crossings=[bow_tie]))
    assert index.num_repaired == {'road_surface': 1, 'ped_crossings': 1}
    out = index.extract(pose(), RANGE)
    assert len(out['ped_crossing']) == 2
    assert line_lengths(out['ped_crossing']).sum() == pytest.approx(4 * 32**0.5 + 16)


def record_by_record(layers, x, y, yaw):
    """The rules of mapping.md 1.2 in plain scalar shapely: clip, move, union, cut, merge, split."""
    patch = affinity.translate(affinity.rotate(box(*RANGE), yaw, (0, 0), use_radians=True), x, y)

    def local(geoms):
        cut = [g.intersection(patch) for g in geoms]
        cut = [affinity.translate(g, -x, -y) for g in cut if not g.is_empty]
        return [affinity.rotate(g, -yaw, (0, 0), use_radians=True) for g in cut]

    def outline(polygons, margin):
        union = ops.unary_union(polygons)
        parts = union.geoms if isinstance(union, MultiPolygon) else [union]
        x0, y0, x1, y1 = RANGE
        window = box(x0 - margin, y0 - margin, x1 + margin, y1 + margin)
        out = []
        for part in parts:
            for ring in [part.exterior, *part.interiors]:
                line = ring.intersection(window)
                out.append(ops.linemerge(line) if isinstance(line, MultiLineString) else line)
        return out

    def split(geoms):
        parts = [p for g in geoms for p in getattr(g, 'geoms', [g])]
        return [p for p in parts if p.length > 0]

    return {
        'divider': split(local(layers.dividers)),
        'ped_crossing': split(outline(local(layers.ped_crossings), 0.2)),
        'boundary': split(outline(local(layers.road_surface), -0.2)),
    }


def random_city(rng):
    roads = []
    for _ in range(60):
        x, y, w, h, a = rng.uniform([0, 0, 5, 20, 0], [120, 120, 15, 80, 180])
        roads.append(affinity.rotate(box(x, y, x + w, y + h), a))
    crossings = [
        affinity.rotate(box(x, y, x + 4, y + 9), x * y) for x, y in rng.uniform(0, 120, (30, 2))
    ]
    lines = [LineString(rng.uniform(0, 120, (5, 2))) for _ in range(30)]
    return MapLayers(roads, crossings, lines)


def test_equals_the_record_by_record_version():
    rng = np.random.default_rng(0)
    layers = random_city(rng)
    index = MapIndex(layers)
    for _ in range(15):
        x, y, yaw = rng.uniform([20, 20, -np.pi], [100, 100, np.pi])
        got = index.extract(pose(x, y, yaw), RANGE)
        expected = record_by_record(layers, x, y, yaw)
        for name in MAP_CLASSES:
            assert len(got[name]) == len(expected[name])
            lengths = [g.length for g in expected[name]]
            np.testing.assert_allclose(
                np.sort(line_lengths(got[name])), np.sort(lengths), atol=1e-6
            )
            a = shapely.union_all([LineString(v) for v in got[name]])
            b = shapely.union_all(expected[name])
            assert shapely.hausdorff_distance(a, b) < 1e-6
