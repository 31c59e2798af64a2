# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A drawn data set of two cities, and results of two methods on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from nexusflow.datasets.info_file import CAMERAS, CATEGORIES, load_info, save_info
from nexusflow.evaluation.functional.map_results import ground_truth_lines, write_map_results
from nexusflow.evaluation.functional.submission import SampleTracks, to_submission, write_submission
from nexusflow.geometry.frames import invert_rigid, make_rigid
from nexusflow.visualization.canvas import write_image

MAP_CLASSES = ['divider', 'ped_crossing', 'boundary']
YAW_DEG = {'CAM_FRONT': 0, 'CAM_FRONT_RIGHT': -55, 'CAM_FRONT_LEFT': 55}
YAW_DEG |= {'CAM_BACK': 180, 'CAM_BACK_LEFT': 110, 'CAM_BACK_RIGHT': -110}
WIDTH, HEIGHT, FOCAL = 128, 72, 100.0


class DrawnData(NamedTuple):
    """Attributes: folder of the data set, its info file, and result files of each method."""

    root: Path
    info_file: Path
    methods: dict[str, dict[str, Any]]


def camera(name: str, img_path: str) -> dict[str, Any]:
    """A camera at the lidar that looks along its yaw (0 is the lidar's y axis, forward)."""
    yaw = np.radians(YAW_DEG[name])
    ahead = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    right = np.array([ahead[1], -ahead[0], 0.0])
    cam2lidar = make_rigid(np.stack([right, [0.0, 0.0, -1.0], ahead], axis=1), [0.0, 0.0, -0.3])
    cam2img = np.array([[FOCAL, 0, WIDTH / 2 - 0.5], [0, FOCAL, HEIGHT / 2 - 0.5], [0, 0, 1.0]])
    return {
        'img_path': img_path,
        'cam2img': cam2img,
        'cam2ego': cam2lidar,
        'lidar2cam': invert_rigid(cam2lidar),
        'width': WIDTH,
        'height': HEIGHT,
    }


def sample(location: str, scene: str, frame: int, rng: np.random.Generator) -> dict[str, Any]:
    """A street along y with a crossing, two cars and a pedestrian; ego drives 2 m per frame."""
    token = f'{scene}-{frame}'
    y = np.linspace(-30.0, 30.0, 40)
    lane = [np.stack([x + 0.002 * y**2, y], axis=1).astype(np.float32) for x in (-6, -2, 2, 6)]
    near = 14.0 - 2.0 * frame
    ring = np.array([[-6, near], [6, near], [6, near + 4], [-6, near + 4], [-6, near]], np.float32)
    boxes = [[0.2, 8.0 - frame, -1.0, 4.4, 1.9, 1.6, np.pi / 2]]
    boxes += [[-4.0, 20.0 - 4 * frame, -1.0, 4.6, 1.9, 1.7, -np.pi / 2]]
    boxes += [[7.5, 6.0 + frame, -1.0, 0.7, 0.7, 1.8, 0.3]]
    boxes = np.array(boxes, dtype=np.float32) + rng.normal(scale=0.02, size=(3, 7)).astype(
        np.float32
    )
    offset = 0.0 if location.startswith('boston') else 5000.0
    return {
        'token': token,
        'scene_token': f'token-{scene}',
        'scene_name': scene,
        'frame_idx': frame,
        'prev': '',
        'next': '',
        'timestamp_us': 500_000 * frame,
        'time_s': 0.5 * frame,
        'location': location,
        'ego2global': make_rigid(np.eye(3), [offset, 2.0 * frame, 0.0]),
        'lidar2ego': make_rigid(np.eye(3), [0.0, 0.0, 1.84]),
        'images': {name: camera(name, f'{token}-{name}.jpg') for name in CAMERAS},
        'boxes': boxes,
        'velocity': np.zeros((3, 2), np.float32),
        'labels': np.array([CATEGORIES.index(c) for c in ('car', 'car', 'pedestrian')]),
        'instance_tokens': [f'{scene}-{i}' for i in range(3)],
        'instance_ids': np.arange(3) + hash_free_number(scene) * 10,
        'num_pts': np.array([9, 9, 9]),
        'visibility': np.array([4, 4, 4]),
        'map_vectors': {
            'divider': lane[1:3],
            'ped_crossing': [ring],
            'boundary': [lane[0], lane[3]],
        },
    }


def hash_free_number(scene: str) -> int:
    """A small number that differs between scenes."""
    return int(scene.split('-')[-1])


def paint(path: Path, rng: np.random.Generator) -> None:
    """Sky above, ground below, with a little noise."""
    image = np.empty((HEIGHT, WIDTH, 3))
    image[: HEIGHT // 2], image[HEIGHT // 2 :] = (190, 210, 230), (110, 112, 116)
    write_image(
        path, np.clip(image + rng.normal(scale=4, size=image.shape), 0, 255).astype(np.uint8)
    )


def write_results(folder: Path, data_list: list[dict[str, Any]], noise_m: float) -> dict[str, Any]:
    """Noisy labels as the predictions of a method, and a training log."""
    rng = np.random.default_rng(0)
    truth = ground_truth_lines(data_list, MAP_CLASSES)
    for lines in truth.values():
        for i, pts in enumerate(lines.pts_m):
            lines.pts_m[i] = pts + rng.normal(scale=noise_m, size=2)
    write_map_results(folder / 'map.json', truth, MAP_CLASSES)
    tracks = {
        s['token']: SampleTracks(
            scene=s['scene_name'],
            boxes=s['boxes'] + rng.normal(scale=noise_m / 3, size=(3, 7)) * [1, 1, 0, 0, 0, 0, 0.3],
            velocity=s['velocity'],
            names=['car', 'car', 'pedestrian'],
            scores=np.full(3, 0.7),
            track_ids=[1, 2, 3],
            lidar2global=s['ego2global'] @ s['lidar2ego'],
        )
        for s in data_list
    }
    write_submission(folder / 'tracks.json', to_submission(tracks))
    log = folder / '20260101_000000' / 'vis_data'
    log.mkdir(parents=True)
    records = []
    for step in range(10, 610, 10):
        falling = float(np.exp(-step / 200) + 0.1 * rng.random())
        record = {'lr': 1e-3 * (1 - step / 650), 'loss': 5 * falling, 'loss_map_cls': falling}
        record |= {'loss_map_pts': 2 * falling, 'loss_track_bbox': 1.5 * falling}
        record |= {'loss_align': 0.3 * falling, 'align_distance': falling**2, 'step': step}
        records.append(json.dumps(record))
        records.append(json.dumps(diagnostics(falling) | {'step': step}))
    records.append(json.dumps({'map/mAP': 0.3, 'track/AMOTA': float('nan'), 'step': 600}))
    (log / 'scalars.json').write_text('\n'.join(records) + '\n{"lr": 0.0')
    files = {'map_file': folder / 'map.json', 'tracking_file': folder / 'tracks.json'}
    return {'work_dir': folder, **files}


def diagnostics(value: float) -> dict[str, float]:
    """What NexusDiagnosticsHook writes beside the log of the losses, in a record of its own."""
    found = {'distance': value, 'mmd_map_track': value, 'cka_map_track': 1 - value}
    for task in ('map', 'track'):
        found |= {
            f'{name}_{vector}_{task}': 1 + value for name in ('rank', 'std') for vector in 'hz'
        }
    return {f'align/{name}': value for name, value in found.items()}


@pytest.fixture(scope='session')
def drawn_data(tmp_path_factory: pytest.TempPathFactory) -> DrawnData:
    """Two cities, two scenes each, five frames each, six small images per frame."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp('drawn')
    data_list = []
    for number, location in enumerate(['boston-seaport'] * 2 + ['singapore-onenorth'] * 2):
        for frame in range(5):
            data_list.append(sample(location, f'scene-{number}', frame, rng))
            for view in data_list[-1]['images'].values():
                paint(root / view['img_path'], rng)
    meta = {'schema': 'nexusflow', 'schema_version': 1, 'frame': 'lidar', 'version': 'v1.0-world'}
    meta |= {'split': 'world_val', 'categories': list(CATEGORIES), 'map_classes': MAP_CLASSES}
    meta['map_range_m'] = [-15.0, -30.0, 15.0, 30.0]
    info_file = root / 'infos.pkl'
    save_info(info_file, {'metainfo': meta, 'data_list': data_list})
    assert len(load_info(info_file)['data_list']) == 20
    noise = {'baseline': 1.0, 'nexusflow': 0.3}
    methods = {name: write_results(root / name, data_list, m) for name, m in noise.items()}
    return DrawnData(root, info_file, methods)
