# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""One scene as rows of the nuScenes tables.

An object is annotated in the key frames in which it is within 75 m of the ego (the square of
+-51.2 m around it fits in) and the rendering gives it at least one visible pixel and one LIDAR
point. A frame in which it is hidden has no annotation; `prev` and `next` link over such gaps. So
labels and pictures never disagree, and the evaluation drops no annotation for want of points.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from nexusflow.world.nuscenes_schema import (
    ATTRIBUTES,
    LIDAR,
    Row,
    Tables,
    attribute_name,
    category_token,
    visibility_token,
)
from nexusflow.world.scene import NDArrayFloat, SceneLog, Track
from nexusflow.world.tokens import token, yaw_quaternion

ANNOTATION_RANGE_M = 75.0
_ATTRIBUTE_TOKENS: Final = {name: token('attribute', name) for name in ATTRIBUTES}


class Seen(NamedTuple):
    """What one key frame shows of one object.

    Attributes:
        visible_px: Pixels in all cameras together.
        visible_fraction: Visible part of the object, 0 to 1.
        num_lidar_pts: LIDAR points on it.
    """

    visible_px: int
    visible_fraction: float
    num_lidar_pts: int


@dataclass(frozen=True)
class Channel:
    """One sensor as `sample_data` describes it.

    Attributes:
        name: E.g. ``'CAM_FRONT'``.
        width: Pixels; 0 for the LIDAR.
        height: Pixels; 0 for the LIDAR.
    """

    name: str
    width: int = 0
    height: int = 0

    def filename(self, scene_name: str, timestamp_us: int) -> str:
        """Gives the path of one recording, relative to the data root."""
        suffix = 'pcd.bin' if self.name == LIDAR else 'jpg'
        return f'samples/{self.name}/{scene_name}__{self.name}__{timestamp_us}.{suffix}'


def log_token(scene_name: str) -> str:
    """Gives the token of a scene's log; every scene has a log of its own."""
    return token('log', scene_name)


def scene_tables(
    scene: SceneLog, channels: Sequence[Channel], seen: Sequence[dict[str, Seen]]
) -> Tables:
    """Builds the rows of one scene.

    Args:
        scene: The drive.
        channels: LIDAR and cameras, in the order of the rows.
        seen: For each key frame, track name -> what is seen of it.

    Returns:
        Rows of log, scene, sample, ego_pose, sample_data, instance and sample_annotation.

    Raises:
        ValueError: If a track's category is unknown, or `seen` has another number of frames.
    """
    if len(seen) != len(scene.timestamps_us):
        raise ValueError(
            f"scene '{scene.name}': {len(scene.timestamps_us)} frames, {len(seen)} seen"
        )
    samples = [token('sample', scene.name, i) for i in range(len(seen))]
    instances: list[Row] = []
    annotations: list[Row] = []
    for track in sorted(scene.tracks, key=lambda t: t.name):
        rows = _annotations(scene, samples, track, seen)
        if rows:
            annotations += rows
            instances.append(_instance(track, rows))
    return {
        'log': [_log(scene)],
        'scene': [_scene(scene, samples)],
        'sample': _samples(scene, samples),
        **_recordings(scene, samples, channels),
        'instance': instances,
        'sample_annotation': annotations,
    }


def link(rows: Sequence[Row]) -> None:
    """Fills `prev` and `next` of rows that follow each other; the ends get ''."""
    tokens = ['', *(row['token'] for row in rows), '']
    for i, row in enumerate(rows):
        row['prev'], row['next'] = tokens[i], tokens[i + 2]


def _log(scene: SceneLog) -> Row:
    day = datetime.datetime.fromtimestamp(
        int(scene.timestamps_us[0]) / 1e6, tz=datetime.timezone.utc
    )
    return {
        'token': log_token(scene.name),
        'logfile': scene.name,
        'vehicle': 'nexusflow-world',
        'date_captured': day.date().isoformat(),
        'location': scene.location,
    }


def _scene(scene: SceneLog, samples: Sequence[str]) -> Row:
    return {
        'token': token('scene', scene.name),
        'log_token': log_token(scene.name),
        'nbr_samples': len(samples),
        'first_sample_token': samples[0],
        'last_sample_token': samples[-1],
        'name': scene.name,
        'description': f'{scene.split}, {scene.location}',
    }


def _samples(scene: SceneLog, samples: Sequence[str]) -> list[Row]:
    scene_token = token('scene', scene.name)
    rows: list[Row] = [
        {'token': name, 'timestamp': int(t), 'prev': '', 'next': '', 'scene_token': scene_token}
        for name, t in zip(samples, scene.timestamps_us, strict=True)
    ]
    link(rows)
    return rows


def _recordings(scene: SceneLog, samples: Sequence[str], channels: Sequence[Channel]) -> Tables:
    """Rows of sample_data and ego_pose; all sensors record at the key frame's time."""
    data: list[Row] = []
    poses: list[Row] = []
    times = scene.timestamps_us.tolist()
    places = np.round(np.pad(scene.ego_xy_m, ((0, 0), (0, 1))), 4).tolist()
    rotations = [yaw_quaternion(yaw) for yaw in scene.ego_yaw_rad]
    for channel in channels:
        calibration = token('calibrated_sensor', channel.name)
        rows: list[Row] = []
        for i, timestamp in enumerate(times):
            name = token('sample_data', scene.name, channel.name, i)
            poses.append(
                {
                    'token': name,
                    'timestamp': timestamp,
                    'rotation': rotations[i],
                    'translation': places[i],
                }
            )
            rows.append(
                {
                    'token': name,
                    'sample_token': samples[i],
                    'ego_pose_token': name,
                    'calibrated_sensor_token': calibration,
                    'timestamp': timestamp,
                    'fileformat': 'pcd' if channel.name == LIDAR else 'jpg',
                    'is_key_frame': True,
                    'height': channel.height,
                    'width': channel.width,
                    'filename': channel.filename(scene.name, timestamp),
                    'prev': '',
                    'next': '',
                }
            )
        link(rows)
        data += rows
    return {'sample_data': data, 'ego_pose': poses}


def _speeds_mps(scene: SceneLog, track: Track) -> NDArrayFloat:
    """Speed at each frame of a track, from the neighbouring frames; 0 if there is one frame only."""
    if len(track.frames) < 2:
        return np.zeros(len(track.frames))
    times = scene.timestamps_us[track.frames] * 1e-6
    velocity = np.gradient(track.center_m[:, :2], times, axis=0)
    return np.asarray(np.hypot(velocity[:, 0], velocity[:, 1]))


def _annotations(
    scene: SceneLog, samples: Sequence[str], track: Track, seen: Sequence[dict[str, Seen]]
) -> list[Row]:
    """Annotations of one object, in time order and linked."""
    category_token(track.category)
    speeds = _speeds_mps(scene, track)
    fastest = float(speeds.max()) if len(speeds) else 0.0
    away = np.linalg.norm(track.center_m[:, :2] - scene.ego_xy_m[track.frames], axis=1)
    centers = np.round(track.center_m, 4).tolist()
    size = [round(float(v), 4) for v in track.size_wlh_m]
    instance = token('instance', scene.name, track.name)
    rows: list[Row] = []
    for k, frame in enumerate(track.frames.tolist()):
        view = seen[frame].get(track.name)
        if view is None or not view.visible_px or not view.num_lidar_pts:
            continue
        if away[k] > ANNOTATION_RANGE_M:
            continue
        attribute = attribute_name(track.category, float(speeds[k]), fastest)
        rows.append(
            {
                'token': token('annotation', scene.name, track.name, frame),
                'sample_token': samples[frame],
                'instance_token': instance,
                'visibility_token': visibility_token(view.visible_fraction),
                'attribute_tokens': [_ATTRIBUTE_TOKENS[attribute]] if attribute else [],
                'translation': centers[k],
                'size': size,
                'rotation': yaw_quaternion(track.yaw_rad[k]),
                'prev': '',
                'next': '',
                'num_lidar_pts': int(view.num_lidar_pts),
                'num_radar_pts': 0,
            }
        )
    link(rows)
    return rows


def _instance(track: Track, rows: Sequence[Row]) -> Row:
    return {
        'token': rows[0]['instance_token'],
        'category_token': category_token(track.category),
        'nbr_annotations': len(rows),
        'first_annotation_token': rows[0]['token'],
        'last_annotation_token': rows[-1]['token'],
    }
