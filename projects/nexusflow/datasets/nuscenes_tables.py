# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""nuScenes' JSON tables -> one bundle of arrays per scene.

The tables are read directly: records that are not needed are dropped while the JSON is parsed, so
that the sweeps of v1.0-trainval (2.6 million sample_data) never live in memory together.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexusflow.datasets.info_file import CAMERAS, CATEGORIES
from nexusflow.datasets.nuscenes_scene import SceneTables, box_velocity
from nexusflow.geometry.frames import heading_yaw, make_rigid, rotation_from_quaternion

NDArrayFloat = NDArray[np.float64]

DETECTION_NAMES = {
    'movable_object.barrier': 'barrier',
    'vehicle.bicycle': 'bicycle',
    'vehicle.bus.bendy': 'bus',
    'vehicle.bus.rigid': 'bus',
    'vehicle.car': 'car',
    'vehicle.construction': 'construction_vehicle',
    'vehicle.motorcycle': 'motorcycle',
    'human.pedestrian.adult': 'pedestrian',
    'human.pedestrian.child': 'pedestrian',
    'human.pedestrian.construction_worker': 'pedestrian',
    'human.pedestrian.police_officer': 'pedestrian',
    'movable_object.trafficcone': 'traffic_cone',
    'vehicle.trailer': 'trailer',
    'vehicle.truck': 'truck',
}
"""nuScenes category -> detection class; annotations of other categories are not used."""

LIDAR = 'LIDAR_TOP'

Record = dict[str, Any]


class NuScenesTables:
    """Reads the tables of one version, for the scenes asked for.

    Args:
        root: Data root.
        version: Name of the folder with the tables, e.g. ``'v1.0-mini'``.
        scene_names: Scenes to read.

    Raises:
        FileNotFoundError: No such root, version or table.
        ValueError: A table is not JSON, a scene is unknown, or a key frame lacks a sensor.
    """

    def __init__(self, root: Path, version: str, scene_names: Iterable[str]) -> None:
        check_version(root, version)
        self._folder = root / version
        self._scenes = {s['name']: s for s in self._table('scene')}
        # a scene's name becomes that of a file
        bad = [name for name in self._scenes if '/' in name or name.startswith('.')]
        if bad:
            raise ValueError(
                f'{self._folder / "scene.json"}: name {bad[0]!r} cannot be that of a file; rename the scene'
            )
        names = list(scene_names)
        unknown = [n for n in names if n not in self._scenes]
        if unknown:
            raise ValueError(f"{self._folder / 'scene.json'}: it has no scene '{unknown[0]}'")
        self._logs = {r['token']: r['location'] for r in self._table('log')}
        self._samples = self._read_samples(names)
        self._calibrations = {r['token']: r for r in self._table('calibrated_sensor')}
        self._data = self._read_sample_data()
        self._poses = self._read_poses()
        self._annotations = self._read_annotations()

    def location(self, name: str) -> str:
        """Where a scene was recorded, e.g. ``'boston-seaport'``."""
        return self._logs[self._scenes[name]['log_token']]

    def scene(self, name: str) -> SceneTables:
        """Gather one scene's arrays."""
        scene = self._scenes[name]
        samples = self._samples[scene['token']]
        tokens = [s['token'] for s in samples]
        times = np.array([s['timestamp'] for s in samples], dtype=np.int64)
        lidar = [self._sensor(t, LIDAR) for t in tokens]
        cameras = [[self._sensor(t, c) for c in CAMERAS] for t in tokens]
        cal = [[self._calibrations[c['calibrated_sensor_token']] for c in row] for row in cameras]
        poses = [self._poses[c['ego_pose_token']] for row in cameras for c in row]
        per_camera = (len(tokens), len(CAMERAS), 4, 4)
        return SceneTables(
            name=name,
            token=scene['token'],
            location=self.location(name),
            sample_tokens=tokens,
            timestamps_us=times,
            lidar2ego=_rigid([self._calibrations[d['calibrated_sensor_token']] for d in lidar]),
            ego2global=_rigid([self._poses[d['ego_pose_token']] for d in lidar]),
            image_paths=[[c['filename'] for c in row] for row in cameras],
            image_wh=np.array([[(c['width'], c['height']) for c in row] for row in cameras]),
            cam2img=np.array([[c['camera_intrinsic'] for c in row] for row in cal], np.float64),
            cam2ego=_rigid([c for row in cal for c in row]).reshape(per_camera),
            cam_ego2global=_rigid(poses).reshape(per_camera),
            **self._annotation_arrays(scene['token'], tokens, times),
        )

    def _table(self, name: str, keep: Callable[[Record], Any] | None = None) -> list[Any]:
        """A table of this version."""
        return read_table(self._folder, name, keep)

    def _read_samples(self, names: Sequence[str]) -> dict[str, list[Record]]:
        """Scene token -> samples in time order."""
        wanted = {self._scenes[n]['token'] for n in names}
        out: dict[str, list[Record]] = defaultdict(list)
        for s in self._table('sample'):
            if s['scene_token'] in wanted:
                out[s['scene_token']].append(s)
        for samples in out.values():
            samples.sort(key=lambda s: int(s['timestamp']))
        self._scene_of = {s['token']: t for t, samples in out.items() for s in samples}
        return out

    def _read_sample_data(self) -> dict[tuple[str, str], Record]:
        """(sample token, channel) -> key-frame record, for the lidar and the six cameras."""
        channels = {r['token']: r['channel'] for r in self._table('sensor')}
        used = {LIDAR, *CAMERAS}
        channel_of = {
            t: channels[r['sensor_token']]
            for t, r in self._calibrations.items()
            if channels[r['sensor_token']] in used
        }

        def keep(r: Record) -> Record | None:
            used_frame = r['is_key_frame'] and r['sample_token'] in self._scene_of
            return r if used_frame and r['calibrated_sensor_token'] in channel_of else None

        rows = [r for r in self._table('sample_data', keep) if r is not None]
        return {(r['sample_token'], channel_of[r['calibrated_sensor_token']]): r for r in rows}

    def _read_poses(self) -> dict[str, Record]:
        """Ego poses of the key-frame records."""
        wanted = {r['ego_pose_token'] for r in self._data.values()}
        rows = self._table('ego_pose', lambda r: r if r['token'] in wanted else None)
        return {r['token']: r for r in rows if r is not None}

    def _read_annotations(self) -> dict[str, list[Record]]:
        """Scene token -> annotations of detection classes, each with its ``label``."""
        names = {r['token']: DETECTION_NAMES.get(r['name']) for r in self._table('category')}
        category = {r['token']: names[r['category_token']] for r in self._table('instance')}

        def keep(r: Record) -> Record | None:
            if r['sample_token'] not in self._scene_of or category[r['instance_token']] is None:
                return None
            return {**r, 'label': CATEGORIES.index(category[r['instance_token']])}

        out: dict[str, list[Record]] = defaultdict(list)
        for r in self._table('sample_annotation', keep):
            if r is not None:
                out[self._scene_of[r['sample_token']]].append(r)
        return out

    def _sensor(self, sample_token: str, channel: str) -> Record:
        """One sensor's key-frame record."""
        try:
            return self._data[sample_token, channel]
        except KeyError:
            raise ValueError(
                f"{self._folder / 'sample_data.json'}: sample '{sample_token}' has no key frame of "
                f'{channel}; all of {LIDAR}, {", ".join(CAMERAS)} are needed'
            ) from None

    def _annotation_arrays(
        self, scene_token: str, sample_tokens: Sequence[str], times: NDArray[np.int64]
    ) -> dict[str, Any]:
        """The fields of :class:`SceneTables` that have an entry per annotation."""
        frame_of = {t: i for i, t in enumerate(sample_tokens)}
        rows = self._annotations[scene_token]
        rows = sorted(rows, key=lambda r: frame_of[r['sample_token']])
        n = len(rows)
        center = np.array([r['translation'] for r in rows], np.float64).reshape(n, 3)
        wlh = np.array([r['size'] for r in rows], np.float64).reshape(n, 3)
        quaternion = np.array([r['rotation'] for r in rows], np.float64).reshape(n, 4)
        yaw = heading_yaw(rotation_from_quaternion(quaternion))
        frame = np.array([frame_of[r['sample_token']] for r in rows], np.int64)
        index = {r['token']: i for i, r in enumerate(rows)}
        linked = [np.array([index.get(r[k], -1) for r in rows], np.int64) for k in ('prev', 'next')]
        levels = [str(r['visibility_token']) for r in rows]
        return {
            'frame': frame,
            'boxes': np.concatenate([center, wlh[:, [1, 0, 2]], yaw[:, None]], axis=1),
            'velocity': box_velocity(center, times[frame] * 1e-6, *linked),
            'labels': np.array([r['label'] for r in rows], np.int64),
            'instance_tokens': [r['instance_token'] for r in rows],
            'num_pts': np.array([r['num_lidar_pts'] + r['num_radar_pts'] for r in rows], np.int64),
            'visibility': np.array([int(v) if v.isdigit() else 0 for v in levels], np.int64),
        }


def read_table(folder: Path, name: str, keep: Callable[[Record], Any] | None = None) -> list[Any]:
    """A table.

    Args:
        folder: Where the tables lie.
        name: Name of the file, without ``.json``.
        keep: Gets each record as it is parsed and gives what to store of it.

    Raises:
        FileNotFoundError: No such table.
        ValueError: It is not JSON.
    """
    path = folder / f'{name}.json'
    if not path.is_file():
        raise FileNotFoundError(f'table {path} is missing: unpack the metadata archive again')
    try:
        return list(json.loads(path.read_text('utf-8'), object_hook=keep))
    except ValueError as e:
        raise ValueError(f'table {path} is not valid JSON ({e}): unpack it again') from e


def check_version(root: Path, version: str) -> None:
    """Check that a data root has a version's tables.

    Raises:
        FileNotFoundError: No such root or version; the message lists the versions that are there.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f'data root {root} is missing: give the folder that holds {version}'
        )
    if not (root / version).is_dir():
        found = sorted(p.parent.name for p in root.glob('*/sample_data.json'))
        raise FileNotFoundError(
            f"data root {root} has no version '{version}'; it has {found or 'no version at all'}"
        )


def _rigid(records: Sequence[Record]) -> NDArrayFloat:
    """(N, 4, 4) poses of records with ``rotation`` and ``translation``."""
    rotation = rotation_from_quaternion([r['rotation'] for r in records])
    return make_rigid(rotation, [r['translation'] for r in records])
