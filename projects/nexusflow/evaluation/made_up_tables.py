# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A made-up nuScenes data set of boxes only, for tests and the benchmark of the tracking evaluation.

Tables without images, which the devkit loads. Objects enter and leave the range, crowd, and have
frames without points; cycles stand in racks; a scene is empty and a class is absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .functional.files import write_json

__all__ = ['CLASS_OF', 'EVAL_SET', 'VERSION', 'MadeUpSpec', 'make_tables']

VERSION = 'v1.0-made-up'
EVAL_SET = 'made_up'
CITIES = {'boston': 'boston-seaport', 'singapore': 'singapore-onenorth'}
_RACK = 'static_object.bicycle_rack'
# category: class, share, top speed in m/s, length, width, height
_KINDS = {
    'vehicle.car': ('car', 0.5, 9.0, (4.6, 1.9, 1.7)),
    'human.pedestrian.adult': ('pedestrian', 0.25, 1.6, (0.7, 0.7, 1.8)),
    'vehicle.truck': ('truck', 0.08, 8.0, (7.0, 2.5, 2.9)),
    'vehicle.bus.rigid': ('bus', 0.04, 7.0, (11.0, 2.9, 3.4)),
    'vehicle.bicycle': ('bicycle', 0.05, 4.0, (1.7, 0.6, 1.3)),
    'vehicle.motorcycle': ('motorcycle', 0.05, 9.0, (2.1, 0.8, 1.5)),
    'movable_object.barrier': (None, 0.03, 0.0, (0.5, 2.5, 1.0)),
}
CLASS_OF = {category: kind[0] for category, kind in _KINDS.items()}
"""Category -> tracking class; None: not tracked."""

Row = dict[str, Any]


@dataclass(frozen=True)
class MadeUpSpec:
    """Size of a made-up data set.

    Attributes:
        scenes: Number of scenes; the last one is empty.
        frames: Key frames of a scene.
        objects: Objects of a scene; each is there for about two thirds of it.
    """

    scenes: int = 5
    frames: int = 12
    objects: int = 24


def make_tables(root: Path, spec: MadeUpSpec, seed: int) -> None:
    """Write the 13 tables and ``splits.json`` with the eval set and its cities."""
    rng = np.random.default_rng(seed)
    tables = _fixed_tables()
    splits: dict[str, list[str]] = {EVAL_SET: []} | {f'{EVAL_SET}_{city}': [] for city in CITIES}
    for index in range(spec.scenes):
        city = list(CITIES)[index % len(CITIES)]
        name = f'made-up-{index:04d}'
        splits[EVAL_SET].append(name)
        splits[f'{EVAL_SET}_{city}'].append(name)
        tables['log'].append({'token': f'log-{name}', 'location': CITIES[city], 'logfile': ''})
        _add_scene(tables, rng, name, spec, empty=index + 1 == spec.scenes)
    tables['map'] = [
        {'token': 'map', 'log_tokens': [r['token'] for r in tables['log']], 'filename': 'map.png'}
    ]
    for name, rows in (tables | {'splits': splits}).items():
        write_json(root / VERSION / f'{name}.json', rows)
    (root / 'map.png').touch()


def _fixed_tables() -> dict[str, list[Row]]:
    """Tables that do not depend on the scenes; the others are empty."""
    names = ('log', 'scene', 'sample', 'sample_data', 'ego_pose', 'instance', 'sample_annotation')
    categories = [*_KINDS, _RACK]
    return {name: [] for name in (*names, 'attribute')} | {
        'category': [{'token': name, 'name': name, 'description': ''} for name in categories],
        'visibility': [{'token': '4', 'level': 'v80-100', 'description': ''}],
        'sensor': [{'token': 'lidar', 'channel': 'LIDAR_TOP', 'modality': 'lidar'}],
        'calibrated_sensor': [
            {'token': 'lidar', 'sensor_token': 'lidar', 'translation': [0.9, 0.0, 1.8]}
            | {'rotation': [1.0, 0.0, 0.0, 0.0], 'camera_intrinsic': []}
        ],
    }


def _add_scene(
    tables: dict[str, list[Row]],
    rng: np.random.Generator,
    name: str,
    spec: MadeUpSpec,
    empty: bool,
) -> None:
    """Append the rows of one scene."""
    tokens = [f'{name}-{index}' for index in range(spec.frames)]
    ends = {'first_sample_token': tokens[0], 'last_sample_token': tokens[-1]}
    scene = {'token': name, 'name': name, 'log_token': f'log-{name}', 'nbr_samples': spec.frames}
    tables['scene'].append(scene | ends | {'description': ''})
    start, heading = rng.uniform(300, 2500, 2), rng.uniform(-np.pi, np.pi)
    times = 1_500_000_000_000_000 + np.arange(spec.frames) * 500_000
    times = times + rng.integers(-20_000, 20_000, spec.frames)
    way = np.arange(spec.frames)[:, None] * 2.5 * np.array([np.cos(heading), np.sin(heading)])
    ego = np.append(start + way, np.zeros((spec.frames, 1)), axis=1)
    for token, prev, after, time, position in zip(
        tokens, ['', *tokens[:-1]], [*tokens[1:], ''], times.tolist(), ego.tolist(), strict=True
    ):
        common = {'timestamp': time, 'prev': prev, 'next': after}
        tables['sample'].append({'token': token, 'scene_token': name} | common)
        pose = {'token': f'pose-{token}', 'timestamp': time, 'translation': position}
        tables['ego_pose'].append(pose | {'rotation': [1.0, 0.0, 0.0, 0.0]})
        data = {'token': f'lidar-{token}', 'sample_token': token, 'is_key_frame': True} | common
        data |= {'calibrated_sensor_token': 'lidar', 'ego_pose_token': pose['token']}
        tables['sample_data'].append(data | {'fileformat': 'pcd', 'filename': ''})
    middle = ego[:, :2].mean(axis=0)
    for index in range(0 if empty else spec.objects):
        _add_object(tables, rng, f'{name}-object-{index}', tokens, middle)


def _add_object(
    tables: dict[str, list[Row]],
    rng: np.random.Generator,
    instance: str,
    tokens: list[str],
    middle: NDArray[np.float64],
) -> None:
    """Append an object that moves steadily, turns, and is there for a part of the scene."""
    shares = np.array([kind[1] for kind in _KINDS.values()])
    category = str(rng.choice(list(_KINDS), p=shares / shares.sum()))
    name, _, top_speed, (length, width, height) = _KINDS[category]
    begin = int(rng.integers(0, max(1, len(tokens) // 3)))
    here = np.arange(begin, max(begin + 1, len(tokens) - int(rng.integers(0, len(tokens) // 2))))
    spread = 20.0 if name == 'pedestrian' else 50.0
    speed, yaw = rng.uniform(0, top_speed), rng.uniform(-np.pi, np.pi) + 0.05 * (here - begin)
    step = 0.5 * speed * np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    place = middle + rng.uniform(-spread, spread, 2) + np.cumsum(step, axis=0)
    center = np.append(place, np.full((len(here), 1), 1.0), axis=1)
    names, size = [tokens[i] for i in here], (width, length, height)
    _add_annotations(tables, rng, instance, category, names, center, yaw, size)
    if name == 'bicycle' and rng.random() < 0.5:
        rack = np.append(place, np.full((len(here), 1), 0.8), axis=1)
        size = (2.0, 3.0, 1.5)
        _add_annotations(tables, rng, f'{instance}-rack', _RACK, names, rack, yaw + 0.4, size)


def _add_annotations(
    tables: dict[str, list[Row]],
    rng: np.random.Generator,
    instance: str,
    category: str,
    tokens: list[str],
    center: NDArray[np.float64],
    yaw: NDArray[np.float64],
    size_wlh: tuple[float, float, float],
) -> None:
    """Append an instance and its annotations; one in ten has no points."""
    names = [f'{instance}-{token}' for token in tokens]
    ends = {'first_annotation_token': names[0], 'last_annotation_token': names[-1]}
    row = {'token': instance, 'category_token': category, 'nbr_annotations': len(names)} | ends
    tables['instance'].append(row)
    points = (rng.random(len(names)) < 0.9) * 7
    rotation = np.stack([np.cos(yaw / 2), 0 * yaw, 0 * yaw, np.sin(yaw / 2)], axis=1)
    common = {'instance_token': instance, 'visibility_token': '4', 'attribute_tokens': []}
    common |= {'size': list(size_wlh), 'num_radar_pts': 0}
    for index, token in enumerate(tokens):
        links = {'prev': names[index - 1] if index else '', 'next': (names + [''])[index + 1]}
        row = {'token': names[index], 'sample_token': token, 'num_lidar_pts': int(points[index])}
        row |= {'translation': center[index].tolist(), 'rotation': rotation[index].tolist()}
        tables['sample_annotation'].append(row | links | common)
