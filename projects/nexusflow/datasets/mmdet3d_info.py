# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""mmdet3d's nuScenes infos (version 1.x) read as ours.

They lack scenes, instance ids, box visibility and maps: each sample becomes a scene of its own, ids
are -1 and ``map_vectors`` is None. Good for inference; training on tracks or maps needs
``tools/create_data.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nexusflow.datasets.info_schema import (
    CAMERAS,
    CATEGORIES,
    FRAME,
    SCHEMA,
    SCHEMA_VERSION,
    Info,
)
from nexusflow.datasets.plain_pickle import InfoFileError
from nexusflow.geometry.vector_map import MAP_CLASSES

_IMAGE_SIZE_WH = (1600, 900)


def convert_mmdet3d_info(info: Info, path: Path) -> Info:
    """Convert the content of an mmdet3d v1 info file.

    Args:
        info: Content of the file; boxes are x, y, z (gravity centre), l, w, h, yaw, lidar frame.
        path: The file: images that lie beside it are taken from there, others from
            ``samples/<camera>/``.

    Returns:
        An info of our schema; with data root = folder of the file.

    Raises:
        InfoFileError: A field that we need is missing.
    """
    names = list(info['metainfo'].get('categories', CATEGORIES))
    try:
        samples = [_sample(s, i, names, path) for i, s in enumerate(info['data_list'])]
    except KeyError as e:
        raise InfoFileError(
            f'{path}: an mmdet3d info needs {e} in each sample; make it again with mmdet3d 1.x or '
            'with tools/create_data.py'
        ) from e
    meta = {
        'schema': SCHEMA,
        'schema_version': SCHEMA_VERSION,
        'frame': FRAME,
        'version': info['metainfo'].get('version', ''),
        'split': path.stem,
        'categories': list(CATEGORIES),
        'map_classes': list(MAP_CLASSES),
        'map_range_m': [-15.0, -30.0, 15.0, 30.0],
    }
    return {'metainfo': meta, 'data_list': samples}


def _sample(sample: Mapping[str, Any], i: int, names: list[str], path: Path) -> dict[str, Any]:
    """One sample; objects of other classes are left out."""
    known = [CATEGORIES.index(n) if n in CATEGORIES else -1 for n in names]
    objects = [o for o in sample.get('instances', []) if known[o['bbox_label_3d']] >= 0]
    n = len(objects)
    return {
        'token': sample.get('token', str(sample['sample_idx'])),
        'scene_token': sample.get('scene_token', sample.get('token', str(i))),
        'scene_name': '',
        'frame_idx': 0,
        'prev': '',
        'next': '',
        'timestamp_us': round(sample['timestamp'] * 1e6),
        'time_s': 0.0,
        'location': '',
        'ego2global': np.array(sample['ego2global'], dtype=np.float64),
        'lidar2ego': np.array(sample['lidar_points']['lidar2ego'], dtype=np.float64),
        'images': {name: _camera(sample['images'][name], name, path) for name in CAMERAS},
        'boxes': np.array([o['bbox_3d'] for o in objects], np.float32).reshape(n, 7),
        'velocity': np.array([o['velocity'] for o in objects], np.float32).reshape(n, 2),
        'labels': np.array([known[o['bbox_label_3d']] for o in objects], np.int64),
        'instance_tokens': [''] * n,
        'instance_ids': np.full(n, -1, np.int64),
        'num_pts': np.array(
            [o['num_lidar_pts'] + o['num_radar_pts'] for o in objects], dtype=np.int64
        ),
        'visibility': np.zeros(n, np.int64),
        'map_vectors': None,
    }


def _camera(camera: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """One camera; its image lies beside the info file or in the usual folder."""
    beside = (path.parent / camera['img_path']).is_file()
    return {
        'img_path': camera['img_path'] if beside else f'samples/{name}/{camera["img_path"]}',
        'cam2img': np.array(camera['cam2img'], dtype=np.float64),
        'cam2ego': np.array(camera['cam2ego'], dtype=np.float64),
        'lidar2cam': np.array(camera['lidar2cam'], dtype=np.float64),
        'width': camera.get('width', _IMAGE_SIZE_WH[0]),
        'height': camera.get('height', _IMAGE_SIZE_WH[1]),
    }
