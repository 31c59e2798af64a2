# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""MapTR's rules on hand-made maps; random ones are in ``test_map_extraction.py``."""

import numpy as np
import pytest
from shapely import affinity
from shapely.geometry import LinearRing, LineString, Polygon, box

from nexusflow.geometry.frames import make_rigid
from nexusflow.geometry.polylines import is_closed, line_lengths
from nexusflow.geometry.vector_map import MAP_CLASSES, LaneGraph, MapIndex, MapLayers, MapRules

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


def test_polygons_without_area_are_counted():
    flat = Polygon([(0, 0), (4, 4), (8, 8)])
    index = MapIndex(MapLayers(road_surface=[flat], num_unusable={'road_surface': 2, 'lanes': 1}))
    assert index.num_repaired['road_surface'] == 0
    assert index.num_unusable == {'road_surface': 3, 'lanes': 1}
    assert index.extract(pose(), RANGE)['boundary'] == []


@pytest.mark.parametrize('turn_deg', [0.0, 20.0, 77.0])
def test_shared_edges_leave_no_line_in_the_road(turn_deg):
    """Three pieces that meet in a T; in exact numbers their union is a bar of 8 by 120."""
    pieces = [box(-4, -60, 4, 10), box(-4, 10, 1, 60), box(1, 10, 4, 60)]
    layers = MapLayers(road_surface=[affinity.rotate(p, turn_deg, (0, 0)) for p in pieces])
    for yaw in np.linspace(-0.3, 0.3, 7):
        out = MapIndex(layers).extract(pose(0, 0, np.deg2rad(turn_deg) + yaw), RANGE)
        lengths = line_lengths(out['boundary'])
        assert lengths == pytest.approx([59.6 / np.cos(yaw)] * 2)


def test_a_ring_that_starts_within_the_patch_is_one_line():
    """The ring's first vertex must not cut the line."""
    for start in range(4):
        corners = np.roll([(-10.0, -10.0), (-10.0, 10.0), (40.0, 10.0), (40.0, -10.0)], start, 0)
        out = MapIndex(MapLayers(road_surface=[Polygon(corners)])).extract(pose(), RANGE)
        (line,) = out['boundary']
        expected = [(14.8, -10), (-10, -10), (-10, 10), (14.8, 10)]
        np.testing.assert_allclose(line, expected, atol=1e-9)


def test_crossings_are_joined_by_the_chosen_rule():
    """Two bars in line, touching; one across them; one that touches at 6 degrees; one far away."""
    bars = [box(-10, 0, -2, 3), box(-2, 0, 6, 3), box(-4, 3, -1, 12)]
    slanted = affinity.rotate(box(6, 0, 12, 3), 6, origin=(6, 0))
    layers = MapLayers(ped_crossings=[*bars, slanted, box(-10, 20, -2, 23)])
    touching = MapIndex(layers).extract(pose(), RANGE)['ped_crossing']
    assert len(touching) == 2
    parallel = MapIndex(layers, MapRules(crossings='streammapnet')).extract(pose(), RANGE)
    bounds = spans(parallel['ped_crossing'])
    assert len(bounds) == 3
    assert (-4, 3, -1, 12) in bounds and (-10, 20, -2, 23) in bounds
    joined = next(b for b in bounds if b[0] == -10 and b[1] == 0)
    assert joined[2] == pytest.approx(6 + 6 * np.cos(np.deg2rad(6)), abs=1e-6)


def test_centre_lines_are_a_class_on_demand():
    layers = MapLayers(lanes=LaneGraph([LineString([(0, -50), (0, 50)])], [[]]))
    assert list(MapIndex(layers).extract(pose(), RANGE)) == list(MAP_CLASSES)
    index = MapIndex(layers, MapRules(centerlines=True))
    out = index.extract(pose(), RANGE)
    assert tuple(out) == index.rules.classes == (*MAP_CLASSES, 'centerline')
    np.testing.assert_allclose(out['centerline'], [[(0, -30), (0, 30)]])


def test_bad_arguments():
    with pytest.raises(ValueError, match="crossings is 'all', it must be one of"):
        MapRules(crossings='all')
    with pytest.raises(ValueError, match=r'range_m \(0, 0, 0, 5\) is empty; give \(x_min'):
        MapIndex(MapLayers()).extract(pose(), (0, 0, 0, 5))
