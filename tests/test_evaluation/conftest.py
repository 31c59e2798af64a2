# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The smallest nuScenes data set that the devkit evaluates: two scenes in two cities, boxes only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

VERSION = 'v1.0-small'
OBJECTS = (('vehicle.car', 0.0, 12.0), ('vehicle.car', 6.0, -9.0), ('human.pedestrian.adult', 9, 5))
NUM_FRAMES = 6


class SmallWorld(NamedTuple):
    """Attributes: root, version, tokens per scene, and the ground truth as submitted boxes."""

    root: Path
    version: str
    tokens: dict[str, list[str]]
    truth: dict[str, Any]


def chain(names):
    """(name, prev, next) of a list."""
    return zip(names, ['', *names[:-1]], [*names[1:], ''], strict=True)


def scene_tables(scene, location, offset):
    """Rows of one scene: a standing ego and three objects moving in +x by 1 m per key frame."""
    tokens = [f'{scene}-{i}' for i in range(NUM_FRAMES)]
    rows = {
        'log': [{'token': f'log-{scene}', 'logfile': '', 'vehicle': '', 'date_captured': ''}],
        'scene': [{'token': scene, 'log_token': f'log-{scene}', 'nbr_samples': NUM_FRAMES}],
    }
    rows['log'][0]['location'] = location
    rows['scene'][0] |= {'first_sample_token': tokens[0], 'last_sample_token': tokens[-1]}
    rows['scene'][0] |= {'name': scene, 'description': ''}
    rows |= {name: [] for name in ('sample', 'sample_data', 'ego_pose', 'instance')}
    for i, (token, prev, after) in enumerate(chain(tokens)):
        time = 1_000_000 + i * 500_000
        common = {'timestamp': time, 'prev': prev, 'next': after}
        rows['sample'].append({'token': token, 'scene_token': scene, **common})
        pose = {'token': f'pose-{token}', 'timestamp': time, 'translation': [offset, 0.0, 0.0]}
        rows['ego_pose'].append(pose | {'rotation': [1.0, 0.0, 0.0, 0.0]})
        data = {'token': f'lidar-{token}', 'sample_token': token, 'is_key_frame': True, **common}
        data |= {'calibrated_sensor_token': 'lidar', 'ego_pose_token': pose['token']}
        rows['sample_data'].append(
            data | {'fileformat': 'pcd', 'height': 0, 'width': 0, 'filename': ''}
        )
    rows['sample_annotation'] = []
    for k, (category, x, y) in enumerate(OBJECTS):
        names = [f'{scene}-{k}-{i}' for i in range(NUM_FRAMES)]
        ends = {'first_annotation_token': names[0], 'last_annotation_token': names[-1]}
        instance = {'token': f'{scene}-{k}', 'category_token': category, **ends}
        rows['instance'].append(instance | {'nbr_annotations': NUM_FRAMES})
        for i, (name, prev, after) in enumerate(chain(names)):
            row = {'token': name, 'prev': prev, 'next': after, 'sample_token': tokens[i]}
            row |= {'instance_token': instance['token'], 'visibility_token': '4'}
            row |= {'attribute_tokens': [], 'num_lidar_pts': 9, 'num_radar_pts': 0}
            row |= {'translation': [offset + x + i, y, 1.0], 'size': [2.0, 4.0, 1.5]}
            rows['sample_annotation'].append(row | {'rotation': [1.0, 0.0, 0.0, 0.0]})
    return rows, tokens


def submitted(rows):
    """Ground truth of a scene as boxes of a submission."""
    names = {'vehicle.car': 'car', 'human.pedestrian.adult': 'pedestrian'}
    kinds = {row['token']: names[row['category_token']] for row in rows['instance']}
    out = {row['token']: [] for row in rows['sample']}
    for row in rows['sample_annotation']:
        box = {k: row[k] for k in ('sample_token', 'translation', 'size', 'rotation')}
        box |= {'velocity': [2.0, 0.0], 'tracking_id': row['instance_token']}
        box |= {'tracking_name': kinds[row['instance_token']], 'tracking_score': 0.9}
        out[row['sample_token']].append(box)
    return out


@pytest.fixture(scope='session')
def small_world(tmp_path_factory) -> SmallWorld:
    """Data set on disk and its ground truth in submission form."""
    root = tmp_path_factory.mktemp('small')
    tables = {
        'category': [{'token': c, 'name': c, 'description': ''} for c in {o[0] for o in OBJECTS}],
        'attribute': [],
        'visibility': [{'token': '4', 'level': 'v80-100', 'description': ''}],
        'sensor': [{'token': 'lidar', 'channel': 'LIDAR_TOP', 'modality': 'lidar'}],
        'calibrated_sensor': [
            {
                'token': 'lidar',
                'sensor_token': 'lidar',
                'translation': [0, 0, 0],
                'rotation': [1, 0, 0, 0],
                'camera_intrinsic': [],
            }
        ],
    }
    tokens, truth = {}, {}
    for scene, place, x in (('one', 'boston-seaport', 0.0), ('two', 'singapore-onenorth', 5e3)):
        rows, tokens[scene] = scene_tables(scene, place, x)
        truth |= submitted(rows)
        for name, content in rows.items():
            tables.setdefault(name, []).extend(content)
    logs = [row['token'] for row in tables['log']]
    tables['map'] = [{'token': 'map', 'log_tokens': logs, 'category': '', 'filename': 'maps/a.png'}]
    (root / 'maps').mkdir()
    (root / 'maps' / 'a.png').touch()
    splits = {'small_val': ['one', 'two'], 'small_boston': ['one'], 'small_singapore': ['two']}
    folder = root / VERSION
    folder.mkdir()
    for name, content in (tables | {'splits': splits}).items():
        (folder / f'{name}.json').write_text(json.dumps(content))
    assert np.isfinite(truth['one-0'][0]['translation']).all()
    return SmallWorld(root, VERSION, tokens, {'meta': {'use_camera': True}, 'results': truth})
