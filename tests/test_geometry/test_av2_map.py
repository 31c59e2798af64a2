# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Argoverse 2 maps: a small one written here, and every pose of a real log where it is at hand.

The real log's lengths are compared with shapely's intersections of the whole layers, which share no code with the
index; a log made here takes its place where there is none.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import shapely
from pyarrow import feather

from nexusflow.geometry.av2_map import load_av2_map
from nexusflow.geometry.frames import make_rigid, rotation_from_quaternion
from nexusflow.geometry.vector_map import MapIndex, MapRules

REAL = Path(__file__).parents[3] / 'shared' / 'data' / 'av2_log'
RANGE = (-30.0, -15.0, 30.0, 15.0)
INNER = (-29.8, -14.8, 29.8, 14.8)
POSE = ('qw', 'qx', 'qy', 'qz', 'tx_m', 'ty_m', 'tz_m')


def nodes(points):
    return [{'x': float(x), 'y': float(y), 'z': 7.0} for x, y in points]


def lane(left, right, beside=(None, None), successors=(), junction=False):
    return {
        'is_intersection': junction,
        'lane_type': 'VEHICLE',
        'left_lane_boundary': nodes(left),
        'right_lane_boundary': nodes(right),
        'left_lane_mark_type': 'NONE',
        'right_lane_mark_type': 'SOLID_WHITE',
        'left_neighbor_id': beside[0],
        'right_neighbor_id': beside[1],
        'successors': list(successors),
    }


def small_map():
    """Two lanes north in two pieces, one lane south, a junction at the end and a crossing."""

    def up(x, y0=0.0, y1=50.0):
        return [(x, y0), (x, y1)]

    lanes = {
        '1': lane(up(3.5), up(7), (9, 2), [3]),
        '2': lane(up(7), up(10.5), (1, None), [4]),
        '3': lane(up(3.5, 50, 100), up(7, 50, 100), (None, 4), [5]),
        '4': lane(up(7, 50, 100), up(10.5, 50, 100), (3, None)),
        '5': lane(up(3.5, 100, 110), up(7, 100, 110), (None, 4), junction=True),
        '9': lane(up(3.5)[::-1], up(0)[::-1], (1, None)),
    }
    areas = [[(0, 0), (10.5, 0), (10.5, 100), (0, 100)], [(0, 90), (10.5, 90), (5, 120)]]
    return {
        'lane_segments': lanes,
        'drivable_areas': {str(i): {'area_boundary': nodes(a)} for i, a in enumerate(areas)},
        'pedestrian_crossings': {
            '1': {'edge1': nodes([(0, 20), (10.5, 20)]), 'edge2': nodes([(0, 24), (10.5, 24)])},
            '2': {'edge1': nodes([(0, 60), (10.5, 60)]), 'edge2': nodes([(10.5, 64), (0, 64)])},
        },
    }


def write_map(path, content=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content or small_map()))
    return path


def write_log(folder):
    """A log with the small map and 60 poses that drive up it in a slow bend."""
    write_map(folder / 'map' / 'log_map_archive_made.json')
    yaw = np.linspace(1.2, 1.9, 60)
    columns = {'qw': np.cos(yaw / 2), 'qx': 0 * yaw, 'qy': 0 * yaw, 'qz': np.sin(yaw / 2)}
    columns |= {'tx_m': 5 + np.cos(yaw), 'ty_m': np.linspace(0, 110, 60), 'tz_m': 0 * yaw + 7}
    feather.write_feather(pyarrow.table(columns), folder / 'city_SE3_egovehicle.feather')
    return folder


@pytest.fixture
def layers(tmp_path):
    return load_av2_map(write_map(tmp_path / 'map.json'))


def test_layers_of_a_small_map(layers):
    assert [shape.area for shape in layers.road_surface] == [1050, 157.5]
    assert [shape.area for shape in layers.ped_crossings] == pytest.approx([42, 42])
    assert all(shape.is_valid for shape in layers.ped_crossings), 'edges in either direction'
    bounds = sorted(line.bounds for line in layers.dividers)
    assert bounds == [(3.5, 0, 3.5, 50), (7, 0, 7, 100)], 'once each, joined, not in the junction'
    assert layers.lanes.successors == [[2], [3], [4], [], [], []]
    middle = np.array(layers.lanes.lines[0].coords)
    assert middle[[0, -1]].tolist() == [[5.25, 0], [5.25, 50]]
    assert np.diff(middle[:, 1]).max() == pytest.approx(0.5)


def test_classes_of_a_small_map(layers):
    index = MapIndex(layers, MapRules('streammapnet', centerlines=True))
    east_is_right = make_rigid(np.eye(3), [5, 50, 0])
    out = index.extract(east_is_right, (-30, -60, 30, 60))
    counts = {name: len(lines) for name, lines in out.items()}
    assert counts == {'divider': 2, 'ped_crossing': 2, 'boundary': 1, 'centerline': 3}
    ends = sorted((*line[0], *line[-1]) for line in out['centerline'])
    np.testing.assert_allclose(
        ends, [(-3.25, 0, -3.25, -50), (0.25, -50, 0.25, 60), (3.75, -50, 3.75, 50)]
    )


def test_a_map_without_lanes_and_crossings(tmp_path):
    content = small_map() | {'lane_segments': {}, 'pedestrian_crossings': {}}
    content['drivable_areas']['2'] = {'area_boundary': nodes([(0, 0), (1, 1)])}
    layers = load_av2_map(write_map(tmp_path / 'map.json', content))
    assert (layers.dividers, layers.ped_crossings, layers.lanes.lines) == ([], [], [])
    assert layers.num_unusable == {'road_surface': 1}
    assert len(MapIndex(layers, MapRules(centerlines=True)).extract(np.eye(4), RANGE)) == 4


def test_bad_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.json: missing; download the log'):
        load_av2_map(tmp_path / 'nowhere.json')
    path = write_map(tmp_path / 'map.json')
    content = small_map()
    del content['drivable_areas']
    write_map(path, content)
    with pytest.raises(ValueError, match=r"map.json: field 'drivable_areas' is missing"):
        load_av2_map(path)
    path.write_text('{')
    with pytest.raises(ValueError, match=r'map.json: not valid JSON .*download it again'):
        load_av2_map(path)


@pytest.fixture(params=[None, *sorted(REAL.glob('*/'))], ids=lambda path: path and 'real' or 'made')
def log(request, tmp_path):
    """The made log, and the real one where it is at hand."""
    return request.param or write_log(tmp_path / 'log')


def read_poses(folder):
    table = feather.read_table(folder / 'city_SE3_egovehicle.feather')
    values = np.stack([table.column(name).to_numpy() for name in POSE], axis=1)
    return make_rigid(rotation_from_quaternion(values[:, :4]), values[:, 4:])


def length_in(lines, windows):
    """Length of lines within each of the windows."""
    window, line = shapely.STRtree(lines).query(windows, predicate='intersects')
    lengths = shapely.length(shapely.intersection(np.take(lines, line), windows[window]))
    return np.bincount(window, lengths, len(windows))


def footprints(poses, range_m):
    """The range around each pose, city frame."""
    x0, y0, x1, y1 = range_m
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    yaw = np.arctan2(poses[:, 1, 0], poses[:, 0, 0])
    turn = np.stack([np.cos(yaw), np.sin(yaw), -np.sin(yaw), np.cos(yaw)], axis=1)
    return shapely.polygons(corners @ turn.reshape(-1, 2, 2) + poses[:, None, :2, 3])


def test_every_pose_of_a_log(log):
    """Lengths of dividers and boundaries at each pose, area of the crossings, and all poses together."""
    layers = load_av2_map(next((log / 'map').glob('log_map_archive_*.json')))
    poses = read_poses(log)
    index = MapIndex(layers)
    found = [index.extract(pose, RANGE) for pose in poses]
    outer, inner = footprints(poses, RANGE), footprints(poses, INNER)
    outline = shapely.get_parts(shapely.boundary(shapely.union_all(layers.road_surface)))
    sources = {'divider': (np.array(layers.dividers), outer), 'boundary': (outline, inner)}
    for name, (lines, windows) in sources.items():
        got = np.array([_length(out[name]) for out in found])
        np.testing.assert_allclose(got, length_in(lines, windows), atol=0.02)
        together = shapely.intersection(shapely.union_all(lines), shapely.union_all(windows))
        step = max(1, len(poses) // 60)
        driven = [
            shapely.linestrings(_to_city(pose, line))
            for pose, out in zip(poses[::step], found[::step], strict=True)
            for line in out[name]
        ]
        whole = shapely.union_all(driven, grid_size=1e-3).length
        seen = shapely.union_all(windows[::step])
        expected = shapely.intersection(together, seen).length
        assert whole == pytest.approx(expected, rel=1e-3) and expected > 50
    crossings = shapely.union_all(shapely.make_valid(np.array(layers.ped_crossings)))
    areas = [sum(_area(ring) for ring in out['ped_crossing']) for out in found]
    np.testing.assert_allclose(
        areas, shapely.area(shapely.intersection(crossings, outer)), atol=0.01
    )


def _to_city(pose, line):
    """(n, 2) points from the frame of a pose, which may be tilted, to the city's."""
    yaw = np.arctan2(pose[1, 0], pose[0, 0])
    turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
    return line @ turn + pose[:2, 3]


def _length(lines):
    return sum(np.linalg.norm(np.diff(line, axis=0), axis=1).sum() for line in lines)


def _area(ring):
    """Signed area, positive for the clockwise outer rings."""
    x, y = ring.T
    return -0.5 * float(x[:-1] @ y[1:] - x[1:] @ y[:-1])
