# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Key frames and true tracks of scenes, read from the tables without the devkit.

The boxes are those that the official evaluation counts (``nuscenes.eval.common.loaders``): within
the range of their class around the ego, with a lidar or radar point, no cycles in racks, gaps
interpolated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexusflow.datasets.nuscenes_tables import (
    DETECTION_NAMES,
    LIDAR,
    check_version,
    read_table,
)
from nexusflow.geometry.frames import rotation_from_quaternion

from .box_columns import BoxColumns, interpolate
from .submission import TRACKING_CLASSES
from .tracking_frames import KeyFrames, Racks, judged

__all__ = ['TrackingTruth', 'load_truth']

_RACK = 'static_object.bicycle_rack'
_loaded: dict[tuple[str, str, float, frozenset[str]], TrackingTruth] = {}


@dataclass(frozen=True)
class TrackingTruth:
    """Ground truth of scenes.

    Attributes:
        frames: The key frames.
        boxes: The boxes that count; labels index ``TRACKING_CLASSES``.
        annotated: Names of the scenes with a box of a tracking class, whether it counts or not.
    """

    frames: KeyFrames
    boxes: BoxColumns
    annotated: frozenset[str]


def load_truth(data_root: str | Path, version: str, scene_names: Iterable[str]) -> TrackingTruth:
    """Read the ground truth of scenes, once per process as long as the tables do not change.

    Args:
        data_root: Root folder of the data set.
        version: Folder of the tables, e.g. ``'v1.0-trainval'``.
        scene_names: Scenes to read; those without tables are left out.

    Raises:
        FileNotFoundError: No such root, version or table.
        ValueError: A table is not JSON, or a key frame has no lidar pose.
    """
    root = Path(data_root)
    check_version(root, version)
    stamp = max(path.stat().st_mtime for path in (root / version).glob('*.json'))
    key = (str(root.resolve()), version, stamp, frozenset(scene_names))
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = _read(root / version, key[3])
    return _loaded[key]


def _read(folder: Path, scene_names: frozenset[str]) -> TrackingTruth:
    """Read the tables."""
    names = {r['token']: r['name'] for r in read_table(folder, 'scene')}
    samples = [r for r in read_table(folder, 'sample') if names[r['scene_token']] in scene_names]
    samples.sort(key=lambda r: (names[r['scene_token']], int(r['timestamp'])))
    frame_of = {r['token']: i for i, r in enumerate(samples)}
    scene = [names[r['scene_token']] for r in samples]
    first = {name: i for i, name in reversed(list(enumerate(scene)))}
    categories = _categories(folder)

    def keep(r: dict[str, Any]) -> dict[str, Any] | None:
        wanted = r['sample_token'] in frame_of and r['instance_token'] in categories
        return r if wanted else None

    rows = [r for r in read_table(folder, 'sample_annotation', keep) if r is not None]
    rows.sort(key=lambda r: frame_of[r['sample_token']])
    is_rack = [categories[r['instance_token']] == _RACK for r in rows]
    racks = [r for r, rack in zip(rows, is_rack, strict=True) if rack]
    objects = [r for r, rack in zip(rows, is_rack, strict=True) if not rack]
    frames = KeyFrames(
        tokens=[r['token'] for r in samples],
        scene=scene,
        step=np.array([i - first[name] for i, name in enumerate(scene)], dtype=np.int64),
        time_us=np.array([r['timestamp'] for r in samples], dtype=np.int64),
        ego_xy=_ego_positions(folder, frame_of),
        racks=Racks(
            np.array([frame_of[r['sample_token']] for r in racks], dtype=np.int64),
            np.array([r['translation'] for r in racks], dtype=np.float64).reshape(-1, 3),
            np.array([r['size'] for r in racks], dtype=np.float64).reshape(-1, 3)[:, [1, 0, 2]],
            rotation_from_quaternion(np.array([r['rotation'] for r in racks]).reshape(-1, 4)),
        ),
    )
    boxes = _columns(objects, frame_of, categories)
    has_points = np.array([r['num_lidar_pts'] + r['num_radar_pts'] != 0 for r in objects], bool)
    counted = boxes.take(has_points & judged(boxes, frames))
    annotated = frozenset(scene[frame] for frame in boxes.frame)
    return TrackingTruth(frames, interpolate(counted, frames.time_us), annotated)


def _categories(folder: Path) -> dict[str, str]:
    """Instance token to its tracking class, or to the category of racks; others are left out."""
    known = {k: v for k, v in DETECTION_NAMES.items() if v in TRACKING_CLASSES} | {_RACK: _RACK}
    names = {r['token']: known.get(r['name']) for r in read_table(folder, 'category')}
    pairs = ((r['token'], names[r['category_token']]) for r in read_table(folder, 'instance'))
    return {token: name for token, name in pairs if name is not None}


def _ego_positions(folder: Path, frame_of: dict[str, int]) -> NDArray[np.float64]:
    """(F, 2) where the ego is at the time of each lidar sweep."""
    sensors = {r['token'] for r in read_table(folder, 'sensor') if r['channel'] == LIDAR}
    calibrated = read_table(folder, 'calibrated_sensor')
    lidars = {r['token'] for r in calibrated if r['sensor_token'] in sensors}

    def keep(r: dict[str, Any]) -> tuple[str, str] | None:
        used = r['is_key_frame'] and r['calibrated_sensor_token'] in lidars
        used = used and r['sample_token'] in frame_of
        return (r['sample_token'], r['ego_pose_token']) if used else None

    pose_of = dict(filter(None, read_table(folder, 'sample_data', keep)))
    wanted = set(pose_of.values())
    poses = read_table(folder, 'ego_pose', lambda r: r if r['token'] in wanted else None)
    position = {r['token']: r['translation'][:2] for r in poses if r is not None}
    for sample in frame_of:
        if pose_of.get(sample) not in position:
            raise ValueError(
                f"{folder / 'sample_data.json'}: sample '{sample}' has no key frame of {LIDAR} with"
                ' an ego pose; unpack the metadata archive again'
            )
    rows = [position[pose_of[sample]] for sample in frame_of]
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def _columns(
    rows: list[dict[str, Any]], frame_of: dict[str, int], categories: dict[str, str]
) -> BoxColumns:
    """Annotations, sorted by frame, as columns; tracks numbered as they appear."""
    number: dict[str, int] = {}
    labels = [TRACKING_CLASSES.index(categories[r['instance_token']]) for r in rows]
    return BoxColumns(
        frame=np.array([frame_of[r['sample_token']] for r in rows], dtype=np.int64),
        track=np.array([number.setdefault(r['instance_token'], len(number)) for r in rows], int),
        label=np.array(labels, dtype=np.int64),
        center=np.array([r['translation'] for r in rows], dtype=np.float64).reshape(-1, 3),
        score=np.full(len(rows), -1.0),
    )
