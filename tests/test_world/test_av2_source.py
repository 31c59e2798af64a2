# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Argoverse 2 logs: a small one written here, and a real one where it is at hand."""

import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import feather
from shapely import contains_xy
from shapely.ops import unary_union

from nexusflow.world.av2_source import load_av2_log

REAL = Path(__file__).parents[3] / 'shared' / 'data' / 'av2_log'
CORNER = np.array([-200.0, 1000.0])
EGO_YAW = np.pi / 2
BOXES = {
    'car': ('REGULAR_VEHICLE', 20.0, 3.0, 4.5, 1.9, 1.6),
    'cone': ('CONSTRUCTION_CONE', 5.0, -2.0, 0.4, 0.4, 0.9),
    'post': ('BOLLARD', 5.0, -3.0, 0.3, 0.3, 1.0),
    'away': ('BUS', 95.0, 0.0, 12.0, 2.9, 3.2),
}


def nodes(points):
    return [{'x': float(x), 'y': float(y), 'z': 7.0} for x, y in np.add(points, CORNER)]


def lane(name, left, right, paint, beside=(None, None), junction=False):
    return {
        'id': name,
        'is_intersection': junction,
        'lane_type': 'VEHICLE',
        'left_lane_boundary': nodes(left),
        'right_lane_boundary': nodes(right),
        'left_lane_mark_type': paint[0],
        'right_lane_mark_type': paint[1],
        'left_neighbor_id': beside[0],
        'right_neighbor_id': beside[1],
    }


def vector_map():
    """A street of 100 m to the north: two lanes up, one down, and a junction at its end."""
    up, down = [(0.0, 0.0), (0.0, 100.0)], [(0.0, 100.0), (0.0, 0.0)]

    def at(x, line):
        return [(x, y) for _, y in line]

    lanes = [
        lane(1, at(7, up), at(10.5, up), ('DASHED_WHITE', 'SOLID_WHITE'), (2, None)),
        lane(2, at(3.5, up), at(7, up), ('SOLID_YELLOW', 'DASHED_WHITE'), (3, 1)),
        lane(3, at(3.5, down), at(0, down), ('SOLID_YELLOW', 'NONE'), (2, None)),
        lane(
            4,
            [(3.5, 100.0), (3.5, 120.0)],
            [(7.0, 100.0), (7.0, 120.0)],
            ('DASHED_WHITE', 'NONE'),
            junction=True,
        ),
    ]
    areas = [
        [(0, 0), (10.5, 0), (10.5, 100), (0, 100)],
        [(0, 100.1), (10.5, 100.1), (10.5, 120), (0, 120)],
    ]
    return {
        'lane_segments': {str(item['id']): item for item in lanes},
        'drivable_areas': {str(i): {'area_boundary': nodes(a)} for i, a in enumerate(areas)},
        'pedestrian_crossings': {
            '9': {'edge1': nodes([(0, 96), (10.5, 96)]), 'edge2': nodes([(0, 99), (10.5, 99)])}
        },
    }


def annotations(sweeps):
    rows = [
        {
            'timestamp_ns': 10**18 + k * 10**8,
            'track_uuid': name,
            'category': category,
            'length_m': length,
            'width_m': width,
            'height_m': height,
            **quaternion(0.1),
            'tx_m': x,
            'ty_m': y,
            'tz_m': 0.4,
        }
        for k in range(sweeps)
        for name, (category, x, y, length, width, height) in BOXES.items()
    ]
    return {key: [row[key] for row in rows] for key in rows[0]}


def quaternion(yaw):
    return {'qw': np.cos(yaw / 2), 'qx': 0.0, 'qy': 0.0, 'qz': np.sin(yaw / 2)}


def poses(sweeps):
    """The ego drives north at 2 m/s, 20 poses a second, from 5 m into the street."""
    count = 2 * sweeps
    turn = quaternion(EGO_YAW)
    return {
        'timestamp_ns': [10**18 + k * 5 * 10**7 for k in range(count)],
        **{key: [value] * count for key, value in turn.items()},
        'tx_m': [CORNER[0] + 5.0] * count,
        'ty_m': [CORNER[1] + 5.0 + 0.1 * k for k in range(count)],
        'tz_m': [7.0] * count,
    }


def write_log(folder):
    """Writes the small log; the folder's name is its id."""
    (folder / 'map').mkdir(parents=True)
    feather.write_feather(pyarrow.table(annotations(12)), folder / 'annotations.feather')
    feather.write_feather(pyarrow.table(poses(12)), folder / 'city_SE3_egovehicle.feather')
    path = folder / 'map' / f'log_map_archive_{folder.name}____PIT_city_1.json'
    path.write_text(json.dumps(vector_map()))
    return folder


@pytest.fixture
def log(tmp_path):
    return write_log(tmp_path / 'abc-123')


def test_boxes_and_poses_of_a_small_log(log):
    city_map, scene = load_av2_log(log, location='boston-seaport', split='train')
    assert (scene.name, scene.split) == ('av2-abc-123', 'train')
    assert scene.timestamps_us.tolist() == [10**15, 10**15 + 500_000, 10**15 + 1_000_000]
    assert np.allclose(scene.ego_yaw_rad, EGO_YAW)
    assert np.allclose(scene.ego_xy_m, [[55.0, 55.0 + k] for k in range(3)])
    assert city_map.location == scene.location == 'boston-seaport'
    tracks = {track.name: track for track in scene.tracks}
    assert sorted(tracks) == ['car', 'cone'], 'bollards are no nuScenes class; the bus is too far'
    car = tracks['car']
    assert car.category == 'vehicle.car' and car.size_wlh_m == (1.9, 4.5, 1.6)
    # 20 m ahead and 3 m to the left of an ego that looks north
    assert np.allclose(car.center_m, [[52.0, 75.0 + k, 0.8] for k in range(3)])
    assert np.allclose(car.yaw_rad, EGO_YAW + 0.1)
    assert car.frames.tolist() == [0, 1, 2]


def test_map_of_a_small_log(log):
    city_map, _ = load_av2_log(log)
    road = unary_union([s.polygon for s in city_map.road_segments])
    assert road.geom_type == 'Polygon', 'the gap of 10 cm between the areas is closed'
    assert road.bounds == pytest.approx((50.0, 50.0, 60.5, 170.0), abs=0.1)
    assert [s.is_intersection for s in city_map.road_segments] == [False, False, True]
    assert len(city_map.lanes) == len(city_map.lane_centerlines) == 3
    (yellow,), (white,) = city_map.road_dividers, city_map.lane_dividers
    assert yellow.bounds == pytest.approx((53.5, 50.0, 53.5, 150.0))
    assert white.bounds == pytest.approx((57.0, 50.0, 57.0, 150.0))
    assert city_map.ped_crossings[0].area == pytest.approx(31.5)
    assert city_map.walkways == ()
    down = city_map.lane_centerlines[2]
    assert down.coords[0][1] > down.coords[-1][1]


@pytest.mark.parametrize(
    'name', ['annotations.feather', 'city_SE3_egovehicle.feather', 'map/log_map_archive_*.json']
)
def test_missing_file_is_named(log, name):
    next(log.glob(name)).unlink()
    with pytest.raises(FileNotFoundError, match=name.split('/')[-1].replace('*', '.')):
        load_av2_log(log)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere: no such folder'):
        load_av2_log(tmp_path / 'nowhere')


def test_bad_tables_are_named(log):
    path = log / 'annotations.feather'
    table = annotations(12)
    del table['qw']
    feather.write_feather(pyarrow.table(table), path)
    with pytest.raises(ValueError, match="annotations.feather: column 'qw' is missing"):
        load_av2_log(log)
    path.write_bytes(b'half a file')
    with pytest.raises(ValueError, match='annotations.feather: not a readable feather file'):
        load_av2_log(log)
    feather.write_feather(pyarrow.table(annotations(2)), path)
    with pytest.raises(ValueError, match='two key frames, found 1'):
        load_av2_log(log)
    feather.write_feather(pyarrow.table(annotations(30)), path)
    with pytest.raises(ValueError, match='city_SE3_egovehicle.feather.*no pose within 25 ms'):
        load_av2_log(log)


def test_bad_map_is_named(log):
    path = next((log / 'map').iterdir())
    content = vector_map()
    del content['lane_segments']['1']['left_lane_mark_type']
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="field 'left_lane_mark_type' is missing"):
        load_av2_log(log)
    del content['drivable_areas']
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="PIT_city_1.json: field 'drivable_areas' is missing"):
        load_av2_log(log)
    path.write_text('{"lane')
    with pytest.raises(ValueError, match='not valid JSON'):
        load_av2_log(log)


@pytest.mark.skipif(not REAL.is_dir(), reason='no Argoverse 2 log at hand')
def test_a_real_log():
    folder = next(path for path in sorted(REAL.iterdir()) if path.is_dir())
    city_map, scene = load_av2_log(folder)
    assert len(scene.timestamps_us) == 32
    assert np.allclose(np.diff(scene.timestamps_us), 500_000, atol=5_000)
    road = unary_union([s.polygon for s in city_map.road_segments])
    assert min(road.bounds) > 0.0 and len(city_map.lanes) > 50
    assert city_map.road_dividers and city_map.lane_dividers and city_map.ped_crossings
    driven = np.diff(scene.ego_xy_m, axis=0)
    moving = np.hypot(*driven.T) > 0.5
    course = np.arctan2(driven[:, 1], driven[:, 0]) - scene.ego_yaw_rad[1:]
    assert np.abs(np.sin(course[moving])).max() < 0.15, 'the ego drives where it looks'
    cars = [t for t in scene.tracks if t.category == 'vehicle.car']
    on_road = [contains_xy(road, track.center_m[:, :2]).mean() for track in cars]
    assert len(cars) > 20 and np.mean(on_road) > 0.7
