# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The info file: one split's samples with cameras, boxes and map vectors.

A pickle of plain containers and numpy arrays, read through an unpickler that can build nothing
else, so that an info file from elsewhere cannot run code.
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
from nexusflow.datasets.mmdet3d_info import convert_mmdet3d_info
from nexusflow.datasets.plain_pickle import InfoFileError, load_plain, save_plain

__all__ = [
    'CAMERAS',
    'CATEGORIES',
    'FRAME',
    'SCHEMA',
    'SCHEMA_VERSION',
    'Info',
    'InfoFileError',
    'check_info',
    'load_info',
    'load_plain',
    'save_info',
    'save_plain',
]

_META_KEYS = ('version', 'split', 'categories', 'map_classes', 'map_range_m')
_SAMPLE_SHAPES = {
    'ego2global': (4, 4),
    'lidar2ego': (4, 4),
    'boxes': (None, 7),
    'velocity': (None, 2),
    'labels': (None,),
    'instance_ids': (None,),
    'num_pts': (None,),
    'visibility': (None,),
}
_SAMPLE_KEYS = (
    'token',
    'scene_token',
    'scene_name',
    'frame_idx',
    'prev',
    'next',
    'timestamp_us',
    'time_s',
    'location',
    'images',
    'instance_tokens',
    'map_vectors',
    *_SAMPLE_SHAPES,
)
_CAMERA_SHAPES = {'cam2img': (3, 3), 'cam2ego': (4, 4), 'lidar2cam': (4, 4)}
_CAMERA_KEYS = ('img_path', 'width', 'height', *_CAMERA_SHAPES)


def load_info(path: str | Path) -> Info:
    """Read an info file and check it against the schema.

    mmdet3d's own nuScenes infos (schema 1.x: no scenes, instance ids and maps) are converted in
    memory.

    Args:
        path: The file.

    Returns:
        ``{'metainfo': {...}, 'data_list': [...]}``.

    Raises:
        FileNotFoundError: There is no such file.
        InfoFileError: It is broken, or of another schema, schema version or frame.
    """
    path = Path(path)
    if not path.is_file():
        found = sorted(other.name for other in path.parent.glob('*.pkl'))
        raise FileNotFoundError(
            f'info file {path} is missing: make it with '
            f'tools/create_data.py nuscenes --root-path {path.parent} --version <version>'
            + (f', or name one that is there: {", ".join(found)}' if found else '')
        )
    info = load_plain(path)
    if not isinstance(info, dict) or not {'metainfo', 'data_list'} <= info.keys():
        raise InfoFileError(
            f"{path}: an info file is a dict with 'metainfo' and 'data_list'; "
            'make it with tools/create_data.py'
        )
    if 'schema' not in info['metainfo'] and 'info_version' in info['metainfo']:
        info = convert_mmdet3d_info(info, path)
    check_info(info, path)
    return info


def save_info(path: str | Path, info: Info) -> None:
    """Check an info against the schema and write it atomically.

    Raises:
        InfoFileError: The info does not follow the schema.
    """
    check_info(info, Path(path))
    save_plain(Path(path), info)


def check_info(info: Info, path: Path) -> None:
    """Check metainfo and every sample against the schema.

    Args:
        info: Content of the file.
        path: Named in the errors.

    Raises:
        InfoFileError: The first fault: file, field and mend.
    """
    meta = info['metainfo']
    mend = 'make it again with tools/create_data.py'
    expected = {'schema': SCHEMA, 'schema_version': SCHEMA_VERSION, 'frame': FRAME}
    for key, value in expected.items():
        if meta.get(key) != value:
            raise InfoFileError(
                f"{path}: metainfo['{key}'] is {meta.get(key)!r}, this version of nexusflow reads "
                f'{value!r}; {mend}'
            )
    for key in _META_KEYS:
        if key not in meta:
            raise InfoFileError(f"{path}: metainfo['{key}'] is missing; {mend}")
    if list(meta['categories']) != list(CATEGORIES):
        raise InfoFileError(
            f"{path}: metainfo['categories'] is {list(meta['categories'])}, labels count {list(CATEGORIES)}; "
            'write these, and labels that count them (-1: none of them)'
        )
    for i, sample in enumerate(info['data_list']):
        fault = _sample_fault(sample)
        if fault:
            raise InfoFileError(f'{path}: data_list[{i}]{fault}; {mend}')


def _sample_fault(sample: Mapping[str, Any]) -> str | None:
    """What is wrong with a sample, starting with the field; None when nothing is."""
    missing = [key for key in _SAMPLE_KEYS if key not in sample]
    if missing:
        return f"['{missing[0]}'] is missing"
    fault = _shape_fault(sample, _SAMPLE_SHAPES)
    if fault:
        return fault
    sizes = {key: len(sample[key]) for key, shape in _SAMPLE_SHAPES.items() if shape[0] is None}
    sizes['instance_tokens'] = len(sample['instance_tokens'])
    if len(set(sizes.values())) > 1:
        return f': one entry per box is needed, got {sizes}'
    for name, camera in sample['images'].items():
        missing = [key for key in _CAMERA_KEYS if key not in camera]
        fault = f"['{missing[0]}'] is missing" if missing else _shape_fault(camera, _CAMERA_SHAPES)
        if fault:
            return f"['images']['{name}']{fault}"
    return None


def _shape_fault(
    record: Mapping[str, Any], shapes: Mapping[str, tuple[int | None, ...]]
) -> str | None:
    """The first array whose shape is not the expected one (None: any size)."""
    for key, shape in shapes.items():
        got = np.shape(record[key])
        fits = len(got) == len(shape) and all(
            s is None or s == g for s, g in zip(shape, got, strict=True)
        )
        if not fits:
            return f"['{key}'] has shape {got}, expected {shape}"
    return None
