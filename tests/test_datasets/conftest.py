# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A hand-made data set in nuScenes format: two cities, tilted car, moving cameras."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pyquaternion import Quaternion

VERSION = 'v1.0-world'
CAMERAS = {
    'CAM_FRONT': 0,
    'CAM_FRONT_RIGHT': -55,
    'CAM_FRONT_LEFT': 55,
    'CAM_BACK': 180,
    'CAM_BACK_LEFT': 110,
    'CAM_BACK_RIGHT': -110,
}
WIDTH, HEIGHT = 160, 90
SCENES = {
    'left-1': 'singapore-onenorth',
    'left-2': 'singapore-onenorth',
    'right-1': 'boston-seaport',
}
FRAMES = {'left-1': 4, 'left-2': 3, 'right-1': 5}
OBJECTS = ('vehicle.car', 'human.pedestrian.adult', 'vehicle.truck', 'animal', 'vehicle.bicycle')


def _list(quaternion):
    return [float(v) for v in quaternion.elements]


def _camera_rotation(yaw_deg):
    """Camera axes (right, down, forward) in the ego frame."""
    yaw = np.deg2rad(yaw_deg)
    forward = np.array([np.cos(yaw), np.sin(yaw), 0])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0])
    return Quaternion(matrix=np.stack([right, [0, 0, -1.0], forward], axis=1))


def _pose(rng, xy, yaw):
    tilt = rng.uniform(-0.03, 0.03, 2)
    rotation = (
        Quaternion(axis=[0, 0, 1], angle=yaw)
        * Quaternion(axis=[0, 1, 0], angle=tilt[0])
        * Quaternion(axis=[1, 0, 0], angle=tilt[1])
    )
    return {'translation': [float(xy[0]), float(xy[1]), 0.0], 'rotation': _list(rotation)}


class _World:
    def __init__(self, root):
        self.root = root
        self.rng = np.random.default_rng(0)
        names = (
            'category attribute visibility instance sensor calibrated_sensor ego_pose log scene '
            'sample sample_data sample_annotation map'
        )
        self.tables = {name: [] for name in names.split()}

    def add(self, table, token, **fields):
        self.tables[table].append({'token': token, **fields})
        return token

    def fixed(self):
        for name in OBJECTS:
            self.add('category', f'cat-{name}', name=name, description='')
        for level in '1234':
            self.add('visibility', level, level=f'v{level}', description='')
        rotation = Quaternion(axis=[0, 0, 1], angle=-np.pi / 2) * Quaternion(
            axis=[1, 0, 0], angle=0.02
        )
        self.sensor('LIDAR_TOP', 'lidar', rotation, [0.94, 0.0, 1.84], [])
        for name, yaw in CAMERAS.items():
            k = [[120.0, 0, 81.0], [0, 120.0, 44.0], [0, 0, 1.0]]
            self.sensor(name, 'camera', _camera_rotation(yaw), [1.0, 0.0, 1.5], k)

    def sensor(self, channel, modality, rotation, translation, intrinsic):
        self.add('sensor', f'sensor-{channel}', channel=channel, modality=modality)
        self.add(
            'calibrated_sensor',
            f'cal-{channel}',
            sensor_token=f'sensor-{channel}',
            translation=translation,
            rotation=_list(rotation),
            camera_intrinsic=intrinsic,
        )

    def scene(self, name, location, frames):
        self.add('log', f'log-{name}', logfile='', vehicle='', date_captured='', location=location)
        samples = [f'{name}-{f}' for f in range(frames)]
        self.add(
            'scene',
            f'scene-{name}',
            log_token=f'log-{name}',
            nbr_samples=frames,
            first_sample_token=samples[0],
            last_sample_token=samples[-1],
            name=name,
            description='',
        )
        around = ['', *samples, '']
        start = 1_500_000_000_000_000
        for f, token in enumerate(samples):
            time = start + 500_000 * f
            self.add(
                'sample',
                token,
                timestamp=time,
                prev=around[f],
                next=around[f + 2],
                scene_token=f'scene-{name}',
            )
            for channel in ['LIDAR_TOP', *CAMERAS]:
                self.data(token, channel, time, f)
        self.objects(name, samples)

    def data(self, sample, channel, time, f):
        camera = channel in CAMERAS
        delay = 0.02 if camera else 0.0
        pose = _pose(self.rng, (100.0 + 4 * (f + delay), 50.0), 0.1 * (f + delay))
        path = f'samples/{channel}/{sample}.{"jpg" if camera else "pcd.bin"}'
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(b'')
        if camera:
            image = self.rng.integers(0, 255, (9, 16, 3), dtype=np.uint8)
            image = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(self.root / path), image)
        for token, key in ((f'{sample}-{channel}', True), (f'{sample}-{channel}-sweep', False)):
            self.add('ego_pose', token, timestamp=time, **pose)
            self.add(
                'sample_data',
                token,
                sample_token=sample,
                ego_pose_token=token,
                calibrated_sensor_token=f'cal-{channel}',
                timestamp=time + int(delay * 1e6),
                fileformat='jpg' if camera else 'pcd',
                is_key_frame=key,
                height=HEIGHT if camera else 0,
                width=WIDTH if camera else 0,
                filename=path,
                prev='',
                next='',
            )

    def objects(self, scene, samples):
        for i, name in enumerate(OBJECTS):
            seen = samples if i else samples[:1]
            tokens = [f'{scene}-{i}-{s}' for s in seen]
            instance = self.add(
                'instance',
                f'{scene}-{i}',
                category_token=f'cat-{name}',
                nbr_annotations=len(seen),
                first_annotation_token=tokens[0],
                last_annotation_token=tokens[-1],
            )
            around = ['', *tokens, '']
            for f, sample in enumerate(seen):
                self.add(
                    'sample_annotation',
                    tokens[f],
                    sample_token=sample,
                    instance_token=instance,
                    visibility_token='4',
                    attribute_tokens=[],
                    translation=[112.0 + 3.0 * i + f, 48.0 + 2 * i, 1.0],
                    size=[1.5 + i, 4.0 + i, 1.6],
                    rotation=_list(Quaternion(axis=[0, 0, 1], angle=0.3 * i + 0.1 * f)),
                    prev=around[f],
                    next=around[f + 2],
                    num_lidar_pts=3 if i != 2 else 0,
                    num_radar_pts=0,
                )

    def write(self):
        for location in sorted(set(SCENES.values())):
            logs = [f'log-{n}' for n, where in SCENES.items() if where == location]
            self.add('map', f'map-{location}', log_tokens=logs, filename='maps/m.png', category='')
            path = self.root / 'maps' / 'expansion' / f'{location}.json'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(_city()))
        (self.root / 'maps' / 'm.png').write_bytes(b'')
        folder = self.root / VERSION
        folder.mkdir()
        for name, rows in self.tables.items():
            (folder / f'{name}.json').write_text(json.dumps(rows))
        splits = {
            'world_train': ['left-1', 'right-1'],
            'world_val': ['left-2'],
            'world_val_left': ['left-2'],
        }
        (folder / 'splits.json').write_text(json.dumps(splits))


def _city():
    """A road along x with a divider, a T junction to the north and a crossing."""
    city = {
        'version': '1.3',
        'canvas_edge': [400, 400],
        'arcline_path_3': {},
        'connectivity': {},
    }
    layers = (
        'polygon line node drivable_area road_segment road_block lane ped_crossing walkway '
        'stop_line carpark_area road_divider lane_divider traffic_light lane_connector'
    )
    city.update({name: [] for name in layers.split()})

    def nodes(points):
        first = len(city['node'])
        city['node'] += [
            {'token': f'n{first + i}', 'x': float(x), 'y': float(y)}
            for i, (x, y) in enumerate(points)
        ]
        return [f'n{first + i}' for i in range(len(points))]

    def polygon(layer, points, **fields):
        token = f'p{len(city["polygon"])}'
        city['polygon'].append({'token': token, 'exterior_node_tokens': nodes(points), 'holes': []})
        city[layer].append({'token': f'{layer}-{token}', 'polygon_token': token, **fields})

    def box(x0, y0, x1, y1):
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]

    polygon('road_segment', box(20, 46, 300, 54), is_intersection=False)
    polygon('road_segment', box(110, 54, 118, 150), is_intersection=False)
    polygon(
        'lane', box(20, 46, 300, 50), left_lane_divider_segments=[], right_lane_divider_segments=[]
    )
    polygon('ped_crossing', box(105, 46, 108, 54), road_segment_token='')
    city['line'].append({'token': 'l0', 'node_tokens': nodes([(20, 50), (110, 50)])})
    city['road_divider'].append({'token': 'd0', 'line_token': 'l0', 'road_segment_token': ''})
    return city


@pytest.fixture(scope='session')
def nuscenes_root(tmp_path_factory) -> Path:
    """Data root with version ``v1.0-world``: 2 + 1 scenes of 3 to 5 key frames."""
    world = _World(tmp_path_factory.mktemp('nuscenes'))
    world.fixed()
    for name, location in SCENES.items():
        world.scene(name, location, FRAMES[name])
    world.write()
    return world.root


@pytest.fixture(scope='session')
def info_dir(nuscenes_root, tmp_path_factory) -> Path:
    """Folder with the info files of ``nuscenes_root``."""
    from nexusflow.datasets.nuscenes_converter import ConvertSpec, convert

    out = tmp_path_factory.mktemp('infos')
    convert(ConvertSpec(nuscenes_root, VERSION, out), progress=False)
    return out


@pytest.fixture
def train_info(info_dir) -> Path:
    """Info file of the training split."""
    return info_dir / 'nexusflow_infos_world_train.pkl'
