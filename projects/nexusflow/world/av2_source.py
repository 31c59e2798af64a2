# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The real world source: one log of Argoverse 2 (Wilson et al., 2021), flattened to z = 0.

Read are the boxes (``annotations.feather``, 10 Hz, ego frame), the ego's poses
(``city_SE3_egovehicle.feather``) and the vector map (``map/log_map_archive_*.json``). Argoverse's ego frame
(x forward, origin at the rear axle) is nuScenes'.

Categories without a counterpart among nuScenes' detection classes are left out: bollards, strollers, animals, riders
(nuScenes' bicycle box holds its rider), wheelchairs, signs, barrels, message boards.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from nexusflow.geometry.frames import heading_yaw, rotation_from_quaternion
from nexusflow.world.av2_map import read_av2_map
from nexusflow.world.scene import CityMap, NDArrayFloat, NDArrayInt, SceneLog, Track
from nexusflow.world.sumo_scenes import REACH_M

CATEGORIES: Final = {
    'REGULAR_VEHICLE': 'vehicle.car',
    'LARGE_VEHICLE': 'vehicle.truck',
    'BOX_TRUCK': 'vehicle.truck',
    'TRUCK': 'vehicle.truck',
    'TRUCK_CAB': 'vehicle.truck',
    'VEHICULAR_TRAILER': 'vehicle.trailer',
    'BUS': 'vehicle.bus.rigid',
    'SCHOOL_BUS': 'vehicle.bus.rigid',
    'ARTICULATED_BUS': 'vehicle.bus.bendy',
    'MOTORCYCLE': 'vehicle.motorcycle',
    'BICYCLE': 'vehicle.bicycle',
    'PEDESTRIAN': 'human.pedestrian.adult',
    'OFFICIAL_SIGNALER': 'human.pedestrian.adult',
    'CONSTRUCTION_CONE': 'movable_object.trafficcone',
}
SWEEPS_PER_FRAME: Final = 5
POSE_TOLERANCE_NS: Final = 25_000_000
_BOXES: Final = 'annotations.feather'
_EGO_POSES: Final = 'city_SE3_egovehicle.feather'
_POSE: Final = ('qw', 'qx', 'qy', 'qz', 'tx_m', 'ty_m', 'tz_m')
_BOX: Final = ('length_m', 'width_m', 'height_m')
Columns = dict[str, Any]


def load_av2_log(
    log_dir: Path, location: str = 'boston-seaport', split: str = 'val'
) -> tuple[CityMap, SceneLog]:
    """Read a log of the Argoverse 2 sensor data set.

    Args:
        log_dir: Folder of the log; its name is the log's id.
        location: nuScenes location name under which it appears.
        split: ``'train'`` or ``'val'``.

    Returns:
        The map and the scene: every fifth sweep (2 Hz), moved so that all map coordinates are positive.

    Raises:
        FileNotFoundError: If a file of the log is missing.
        ValueError: If a file cannot be read or lacks a column or field; names it.
        RuntimeError: If pyarrow is not installed.
    """
    log_dir = Path(log_dir)
    if not log_dir.is_dir():
        raise FileNotFoundError(
            f'{log_dir}: no such folder; give the folder of one Argoverse 2 log'
        )
    city_map, shift = read_av2_map(_map_file(log_dir), location)
    path = log_dir / _BOXES
    boxes = _columns(path, ('timestamp_ns', 'track_uuid', 'category', *_BOX, *_POSE))
    sweeps = np.unique(boxes['timestamp_ns'])[::SWEEPS_PER_FRAME]
    if len(sweeps) < 2:
        raise ValueError(f'{path}: timestamp_ns: a scene needs two key frames, found {len(sweeps)}')
    rotation, origin = _ego_poses(log_dir / _EGO_POSES, sweeps)
    origin = origin + np.array([*shift, 0.0])
    scene = SceneLog(
        name=f'av2-{log_dir.name}',
        location=location,
        split=split,
        timestamps_us=sweeps // 1000,
        ego_xy_m=origin[:, :2],
        ego_yaw_rad=np.unwrap(heading_yaw(rotation)),
        tracks=_tracks(boxes, sweeps, rotation, origin),
    )
    return city_map, scene


def log_files(log_dir: Path) -> list[Path]:
    """The files of a log that :func:`load_av2_log` reads, those of them that are there."""
    found = [log_dir / name for name in (_BOXES, _EGO_POSES) if (log_dir / name).is_file()]
    return found + _map_files(log_dir)[:1]


def _map_files(log_dir: Path) -> list[Path]:
    return sorted((log_dir / 'map').glob('log_map_archive_*.json'))


def _map_file(log_dir: Path) -> Path:
    found = _map_files(log_dir)
    if not found:
        raise FileNotFoundError(
            f'{log_dir / "map"}: no log_map_archive_*.json; download the log with its map folder'
        )
    return found[0]


def _columns(path: Path, names: tuple[str, ...]) -> Columns:
    """Columns of a feather file as arrays."""
    try:
        import pyarrow
        from pyarrow import feather
    except ImportError as error:
        raise RuntimeError(
            'reading Argoverse 2 logs needs pyarrow: pip install nexusflow[world]'
        ) from error
    if not path.is_file():
        raise FileNotFoundError(f'{path}: missing; download the log again with all its files')
    try:
        table = feather.read_table(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ValueError(
            f'{path}: not a readable feather file ({error}); download it again'
        ) from error
    for name in names:
        if name not in table.schema.names:
            raise ValueError(
                f"{path}: column '{name}' is missing; it has {sorted(table.schema.names)}"
            )
    return {name: table.column(name).to_numpy() for name in names}


def _ego_poses(path: Path, sweeps_ns: NDArrayInt) -> tuple[NDArrayFloat, NDArrayFloat]:
    """Rotation (F, 3, 3) and origin (F, 3) of the ego in the city frame at given times."""
    poses = _columns(path, ('timestamp_ns', *_POSE))
    times = poses['timestamp_ns']
    if not len(times):
        raise ValueError(f'{path}: timestamp_ns: the file holds no pose')
    index = np.abs(times[:, None] - sweeps_ns[None]).argmin(axis=0)
    off = np.abs(times[index] - sweeps_ns)
    if off.max() > POSE_TOLERANCE_NS:
        worst = int(sweeps_ns[int(off.argmax())])
        raise ValueError(f'{path}: timestamp_ns: no pose within 25 ms of the sweep at {worst}')
    chosen = {name: poses[name][index] for name in _POSE}
    return _rotations(chosen), _position(chosen)


def _position(columns: Columns) -> NDArrayFloat:
    return np.stack([np.asarray(columns[f't{axis}_m'], np.float64) for axis in 'xyz'], axis=1)


def _rotations(columns: Columns) -> NDArrayFloat:
    return rotation_from_quaternion(np.stack([columns[f'q{part}'] for part in 'wxyz'], axis=1))


def _tracks(
    boxes: Columns, sweeps_ns: NDArrayInt, ego_rotation: NDArrayFloat, ego_origin_m: NDArrayFloat
) -> tuple[Track, ...]:
    """Tracks of the objects within reach, in the city frame, standing on the ground."""
    frame = np.minimum(np.searchsorted(sweeps_ns, boxes['timestamp_ns']), len(sweeps_ns) - 1)
    known = np.isin(boxes['category'].astype(str), list(CATEGORIES))
    local = _position(boxes)
    near = np.linalg.norm(local[:, :2], axis=1) < REACH_M
    keep = np.flatnonzero((sweeps_ns[frame] == boxes['timestamp_ns']) & known & near)
    turn = ego_rotation[frame[keep]]
    center = np.einsum('nij,nj->ni', turn, local[keep]) + ego_origin_m[frame[keep]]
    yaw = heading_yaw(turn @ _rotations({name: boxes[name][keep] for name in _POSE}))
    owner = boxes['track_uuid'][keep].astype(str)
    tracks = []
    for name in np.unique(owner):
        mine = np.flatnonzero(owner == name)
        mine = mine[np.argsort(frame[keep][mine], kind='stable')]
        first = keep[mine[0]]
        length, width, height = (float(boxes[column][first]) for column in _BOX)
        center[mine, 2] = height / 2
        tracks.append(
            Track(
                str(name),
                CATEGORIES[str(boxes['category'][first])],
                (width, length, height),
                frame[keep][mine],
                center[mine],
                np.unwrap(yaw[mine]),
            )
        )
    return tuple(tracks)
