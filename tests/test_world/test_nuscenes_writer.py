# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Tables of a scene made by hand: what is annotated, how rows are linked, what the devkit reads."""

import json
import math

import cv2
import numpy as np
import pytest
from shapely.geometry import LineString, Polygon, box

from nexusflow.world.camera import LIDAR2EGO, nuscenes_like_rig
from nexusflow.world.nuscenes_map_writer import canvas_edge_m, drivable_area, map_expansion
from nexusflow.world.nuscenes_scene import Channel, Seen, link, scene_tables
from nexusflow.world.nuscenes_schema import TABLES, attribute_name, visibility_token
from nexusflow.world.nuscenes_writer import (
    channels_of,
    splits,
    write_map,
    write_scene,
    write_tables,
)
from nexusflow.world.render import RenderedFrame
from nexusflow.world.scene import CityMap, RoadSegment, SceneLog, Track
from nexusflow.world.tokens import matrix_quaternion, token, yaw_quaternion

FRAMES = 4
RIG = nuscenes_like_rig((64, 36))


def make_track(name, category='vehicle.car', start=(20.0, 0.0), velocity=(4.0, 0.0)):
    t = 0.5 * np.arange(FRAMES)[:, None]
    xy = np.array([100.0, 100.0]) + np.array(start) + t * np.array(velocity)
    return Track(
        name=name,
        category=category,
        size_wlh_m=(2.0, 4.0, 1.5),
        frames=np.arange(FRAMES),
        center_m=np.column_stack([xy, np.full(FRAMES, 0.75)]),
        yaw_rad=np.full(FRAMES, 0.3),
    )


def make_scene(tracks, name='scene-0001', split='val', location='boston-seaport'):
    return SceneLog(
        name=name,
        location=location,
        split=split,
        timestamps_us=1_500_000_000_000_000 + 500_000 * np.arange(FRAMES),
        ego_xy_m=np.column_stack([100.0 + np.arange(FRAMES), np.full(FRAMES, 100.0)]),
        ego_yaw_rad=np.full(FRAMES, 0.5),
        tracks=tuple(tracks),
    )


def make_city(location='boston-seaport'):
    block = Polygon(box(0, 0, 200, 200).exterior, [box(50, 50, 60, 60).exterior])
    return CityMap(
        location=location,
        road_segments=(RoadSegment(block), RoadSegment(box(200.02, 0, 260, 20), True)),
        lanes=(box(0, 0, 200, 4),),
        ped_crossings=(box(10, 0, 13, 8),),
        walkways=(box(0, 200, 200, 203),),
        road_dividers=(LineString([(0, 10), (200, 10)]),),
        lane_dividers=(LineString([(0, 20), (100, 20), (200, 30)]),),
    )


class GreyRenderer:
    """Every object is seen in full, except those whose name says 'hidden'."""

    def __init__(self, scene):
        self.scene = scene

    def render(self, index):
        names = [track.name for track in self.scene.tracks]
        seen = np.array([0 if 'hidden' in name else 1 for name in names])
        return RenderedFrame(
            images={
                cam.channel: np.full((cam.height, cam.width, 3), 40 * index, np.uint8)
                for cam in RIG
            },
            visible_px=seen * 50,
            visible_fraction=seen * 1.0,
            num_lidar_pts=seen * 9,
            ids={cam.channel: np.zeros((cam.height, cam.width), np.int32) for cam in RIG},
        )


def all_seen(scene, **changes):
    """Everything in view; changes: name -> list of Seen per frame."""
    full = Seen(100, 1.0, 12)
    return [
        {t.name: changes[t.name][i] if t.name in changes else full for t in scene.tracks}
        for i in range(FRAMES)
    ]


def test_tokens_are_stable_and_distinct():
    assert token('a', 1) == token('a', '1') != token('a1')
    assert len({token('sample', i) for i in range(100)}) == 100


def test_matrix_quaternion_inverts_pyquaternion_style_rotation():
    rng = np.random.default_rng(0)
    for _ in range(20):
        w, x, y, z = q = rng.normal(size=4)
        w, x, y, z = q = q / np.linalg.norm(q) * np.sign(q[0])
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        assert np.allclose(matrix_quaternion(rotation), q)
    turn = [[math.cos(1), -math.sin(1), 0], [math.sin(1), math.cos(1), 0], [0, 0, 1]]
    assert np.allclose(matrix_quaternion(np.array(turn)), yaw_quaternion(1.0))
    with pytest.raises(ValueError, match='not a rotation'):
        matrix_quaternion(np.diag([1.0, 1.0, -1.0]))


def test_visibility_bins_and_attributes():
    assert [visibility_token(f) for f in (0.1, 0.45, 0.7, 0.95)] == ['1', '2', '3', '4']
    assert attribute_name('vehicle.truck', 5.0, 5.0) == 'vehicle.moving'
    assert attribute_name('vehicle.bicycle', 0.0, 3.0) == 'cycle.with_rider'
    assert attribute_name('vehicle.motorcycle', 0.0, 0.0) == 'cycle.without_rider'
    assert attribute_name('human.pedestrian.adult', 0.0, 1.0) == 'pedestrian.standing'
    assert attribute_name('movable_object.barrier', 0.0, 0.0) is None


def test_annotations_follow_what_is_seen():
    scene = make_scene([make_track('a'), make_track('far', start=(73.5, 0.0)), make_track('b')])
    hidden = Seen(0, 0.0, 0)
    full = Seen(9, 0.5, 3)
    seen = all_seen(scene, a=[full, hidden, Seen(5, 0.7, 0), full], b=[hidden] * FRAMES)
    tables = scene_tables(scene, [Channel('LIDAR_TOP')], seen)
    by_instance = {}
    for row in tables['sample_annotation']:
        by_instance.setdefault(row['instance_token'], []).append(row)
    a, far = (token('instance', scene.name, name) for name in ('a', 'far'))
    assert set(by_instance) == {a, far}, 'an object that is never seen has no instance'
    samples = {row['token']: i for i, row in enumerate(tables['sample'])}
    assert [samples[row['sample_token']] for row in by_instance[a]] == [0, 3]
    # 73.5 m ahead at 4 m/s, the ego moves 1 m per frame: 73.5, 74.5, 75.5 m
    assert [samples[row['sample_token']] for row in by_instance[far]] == [0, 1]
    assert by_instance[a][0]['next'] == by_instance[a][1]['token']
    assert by_instance[a][0]['prev'] == by_instance[a][1]['next'] == ''
    assert by_instance[a][0]['visibility_token'] == '2'
    assert by_instance[a][0]['num_lidar_pts'] == 3
    instance = next(row for row in tables['instance'] if row['token'] == a)
    assert instance['nbr_annotations'] == 2
    assert instance['last_annotation_token'] == by_instance[a][1]['token']


def test_samples_and_recordings_are_chains():
    scene = make_scene([make_track('a')])
    tables = scene_tables(scene, channels_of(RIG), all_seen(scene))
    samples = tables['sample']
    assert samples[0]['prev'] == samples[-1]['next'] == ''
    assert [row['next'] for row in samples[:-1]] == [row['token'] for row in samples[1:]]
    assert tables['scene'][0]['last_sample_token'] == samples[-1]['token']
    assert len(tables['sample_data']) == len(tables['ego_pose']) == 7 * FRAMES
    assert len({row['filename'] for row in tables['sample_data']}) == 7 * FRAMES
    assert {row['token'] for row in tables['ego_pose']} == {
        row['ego_pose_token'] for row in tables['sample_data']
    }
    rows = [{'token': 'x'}]
    link(rows)
    assert rows == [{'token': 'x', 'prev': '', 'next': ''}]


def test_bad_scene_is_refused():
    scene = make_scene([make_track('a', category='vehicle.spaceship')])
    with pytest.raises(ValueError, match="'vehicle.spaceship'"):
        scene_tables(scene, channels_of(RIG), all_seen(scene))
    with pytest.raises(ValueError, match='4 frames, 0 seen'):
        scene_tables(make_scene([]), channels_of(RIG), [])


def test_drivable_area_closes_cracks_and_keeps_islands():
    polygons = drivable_area(make_city())
    assert len(polygons) == 1, 'the crack of 2 cm between the two segments is closed'
    assert len(polygons[0].interiors) == 1
    assert polygons[0].area == pytest.approx(200 * 200 - 100 + 60 * 20, abs=2.0)


def test_map_expansion_refers_to_its_own_nodes():
    content = map_expansion(make_city())
    json.dumps(content, allow_nan=False)
    nodes = {row['token']: (row['x'], row['y']) for row in content['node']}
    polygons = {row['token']: row for row in content['polygon']}
    with_hole = polygons[content['road_segment'][0]['polygon_token']]
    assert len(with_hole['holes']) == 1
    assert len(with_hole['exterior_node_tokens']) == 4, 'rings do not repeat the first node'
    used = {t for row in content['line'] for t in row['node_tokens']}
    used |= {t for p in content['polygon'] for t in p['exterior_node_tokens']}
    used |= {t for p in content['polygon'] for hole in p['holes'] for t in hole['node_tokens']}
    assert used == set(nodes)
    width, height = content['canvas_edge']
    assert all(0 <= x <= width and 0 <= y <= height for x, y in nodes.values())


def test_map_expansion_refuses_negative_and_empty_maps():
    with pytest.raises(ValueError, match='negative'):
        map_expansion(CityMap('boston-seaport', road_segments=(RoadSegment(box(-1, 0, 5, 5)),)))
    with pytest.raises(ValueError, match='no geometry'):
        canvas_edge_m(CityMap('boston-seaport'))


def test_splits_list_only_what_exists():
    scenes = [
        make_scene([], 's2', 'train'),
        make_scene([], 's1', 'train', 'singapore-onenorth'),
        make_scene([], 's3', 'val'),
    ]
    assert splits(scenes) == {
        'world_train': ['s1', 's2'],
        'world_val': ['s3'],
        'world_val_boston': ['s3'],
    }
    assert set(splits(scenes[:2])) == {'world_train'}


@pytest.fixture(scope='module')
def hand_made(tmp_path_factory):
    """A data set of one scene with grey pictures."""
    root = tmp_path_factory.mktemp('hand_made')
    scene = make_scene([make_track('a'), make_track('hidden'), make_track('b', start=(0, 9.0))])
    rows = write_scene(root, scene, RIG, GreyRenderer(scene))
    write_tables(root, RIG, [make_city()], [scene], [rows])
    write_map(root, make_city())
    return root, scene


def test_files_on_disk(hand_made):
    root, scene = hand_made
    assert {p.stem for p in (root / 'v1.0-world').iterdir()} == {*TABLES, 'splits'}
    rows = json.loads((root / 'v1.0-world' / 'sample_data.json').read_text())
    for row in rows:
        path = root / row['filename']
        if row['fileformat'] == 'pcd':
            assert path.stat().st_size == 0
        else:
            assert cv2.imread(str(path)).shape == (row['height'], row['width'], 3) == (36, 64, 3)
    assert len(list((root / 'samples').rglob('*.*'))) == 7 * FRAMES
    assert not [p for p in root.rglob('*') if 'partial' in p.name]


def test_devkit_reads_what_was_written(hand_made):
    import nuscenes
    from nuscenes.map_expansion.map_api import NuScenesMap

    root, scene = hand_made
    nusc = nuscenes.NuScenes('v1.0-world', str(root), verbose=False)
    sample = nusc.get('sample', nusc.scene[0]['first_sample_token'])
    assert set(sample['data']) == {'LIDAR_TOP', *(cam.channel for cam in RIG)}
    assert len(sample['anns']) == 2
    box_a = nusc.get_box(token('annotation', scene.name, 'a', 0))
    assert np.allclose(box_a.center, scene.tracks[0].center_m[0], atol=1e-3)
    assert box_a.orientation.yaw_pitch_roll[0] == pytest.approx(0.3, abs=1e-6)
    assert np.allclose(nusc.box_velocity(box_a.token), [4.0, 0.0, 0.0], atol=1e-3)
    lidar = nusc.get('sample_data', sample['data']['LIDAR_TOP'])
    calibration = nusc.get('calibrated_sensor', lidar['calibrated_sensor_token'])
    from pyquaternion import Quaternion

    assert np.allclose(Quaternion(calibration['rotation']).rotation_matrix, LIDAR2EGO[:3, :3])
    city = NuScenesMap(str(root), 'boston-seaport')
    assert city.extract_polygon(city.drivable_area[0]['polygon_tokens'][0]).area > 40_000
    assert city.layers_on_point(11, 2)['ped_crossing'] != ''
    assert city.layers_on_point(55, 55)['road_segment'] == '', 'holes are holes'


def test_write_tables_refuses_double_names_and_missing_maps(tmp_path):
    scene = make_scene([])
    with pytest.raises(ValueError, match='scene-0001'):
        write_tables(tmp_path, RIG, [make_city()], [scene, scene], [])
    with pytest.raises(ValueError, match='boston-seaport'):
        write_tables(tmp_path, RIG, [make_city('singapore-onenorth')], [scene], [])
    assert not list(tmp_path.iterdir())
