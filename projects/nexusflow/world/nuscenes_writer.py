# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Writes a data set that the unmodified nuscenes-devkit loads.

`write_scene` renders and writes the pictures of one scene and gives its table rows; `write_map`
writes the files of one map; both run in worker processes. `write_tables` joins the rows of all
scenes with what they share and writes the 13 tables and the split lists:

    <root>/v1.0-world/*.json, splits.json
    <root>/samples/CAM_*/*.jpg, samples/LIDAR_TOP/*.pcd.bin (empty: there is no point cloud)
    <root>/maps/<token>.png, maps/expansion/<location>.json
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from nexusflow.world.camera import LIDAR2EGO, CameraRig
from nexusflow.world.nuscenes_map_writer import map_expansion, map_picture
from nexusflow.world.nuscenes_scene import Channel, Seen, log_token, scene_tables
from nexusflow.world.nuscenes_schema import LIDAR, TABLES, VERSION, Row, Tables, fixed_tables
from nexusflow.world.render import RenderedFrame
from nexusflow.world.scene import CityMap, SceneLog
from nexusflow.world.staging import write_json
from nexusflow.world.tokens import matrix_quaternion, token

JPEG_QUALITY: Final = 92


class Renderer(Protocol):
    """Draws the key frames of one scene."""

    def render(self, frame_idx: int) -> RenderedFrame:
        """Draws a key frame: images of all cameras and what is seen of each track."""


def channels_of(rig: CameraRig) -> list[Channel]:
    """Lists the recorded channels: LIDAR_TOP, then the cameras."""
    return [Channel(LIDAR), *(Channel(cam.channel, cam.width, cam.height) for cam in rig)]


def write_scene(root: Path, scene: SceneLog, rig: CameraRig, renderer: Renderer) -> Tables:
    """Writes all pictures of one scene.

    Args:
        root: Data root.
        scene: The drive.
        rig: The cameras.
        renderer: Draws the scene's key frames.

    Returns:
        The scene's rows, see `scene_tables`.

    Raises:
        OSError: If a file cannot be written.
    """
    channels = channels_of(rig)
    for channel in channels:
        (root / 'samples' / channel.name).mkdir(parents=True, exist_ok=True)
    seen = []
    for i, timestamp in enumerate(scene.timestamps_us):
        frame = renderer.render(i)
        for channel in channels:
            path = root / channel.filename(scene.name, int(timestamp))
            path.write_bytes(b'' if channel.name == LIDAR else _jpeg(frame.images[channel.name]))
        seen.append(_seen(scene, frame))
    return scene_tables(scene, channels, seen)


def write_map(root: Path, city: CityMap) -> None:
    """Writes the map expansion and the picture of one location.

    Args:
        root: Data root.
        city: The map of a whole location.

    Raises:
        ValueError: If the map is empty or has negative coordinates.
        OSError: If a file cannot be written.
    """
    write_json(root / 'maps' / 'expansion' / f'{city.location}.json', map_expansion(city))
    _, png = cv2.imencode('.png', map_picture(city))
    (root / _map_filename(city.location)).write_bytes(png.tobytes())


def write_tables(
    root: Path,
    rig: CameraRig,
    maps: Sequence[CityMap],
    scenes: Sequence[SceneLog],
    rows: Sequence[Tables],
) -> None:
    """Writes tables and splits; the order of `maps` and `scenes` decides the bytes.

    Args:
        root: Data root.
        rig: The cameras.
        maps: One map per location.
        scenes: All scenes.
        rows: For each scene the result of `write_scene`.

    Raises:
        ValueError: If two scenes have one name, or a scene's location has no map.
    """
    _check_names(maps, scenes)
    tables: Tables = {name: [] for name in TABLES}
    tables.update(fixed_tables())
    tables.update(_sensors(rig))
    for scene_rows in rows:
        for name, added in scene_rows.items():
            tables[name] += added
    tables['map'] = [_map_row(city, scenes) for city in maps]
    for name in TABLES:
        write_json(root / VERSION / f'{name}.json', tables[name])
    write_json(root / VERSION / 'splits.json', splits(scenes))


def splits(scenes: Sequence[SceneLog]) -> dict[str, list[str]]:
    """Lists the scenes of each split that is not empty: train, val, and val per city.

    The names start with `world_`, because the devkit keeps `train` and `val` for its own scenes.
    """
    lists: dict[str, list[str]] = {'world_train': [], 'world_val': []}
    for scene in scenes:
        lists[f'world_{scene.split}'].append(scene.name)
        if scene.split == 'val':
            lists.setdefault(f'world_val_{scene.location.split("-")[0]}', []).append(scene.name)
    return {name: sorted(names) for name, names in lists.items() if names}


def _seen(scene: SceneLog, frame: RenderedFrame) -> dict[str, Seen]:
    views = zip(frame.visible_px, frame.visible_fraction, frame.num_lidar_pts, strict=True)
    return {
        track.name: Seen(int(px), float(fraction), int(points))
        for track, (px, fraction, points) in zip(scene.tracks, views, strict=True)
    }


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    ok, data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not ok:
        raise OSError(f'OpenCV cannot encode an image of shape {image.shape}')
    return data.tobytes()


def _check_names(maps: Sequence[CityMap], scenes: Sequence[SceneLog]) -> None:
    names = [scene.name for scene in scenes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'scene names must be unique; {twice[0]} is there more than once')
    missing = {scene.location for scene in scenes} - {city.location for city in maps}
    if missing:
        raise ValueError(f'no map for location {sorted(missing)[0]}')


def _sensors(rig: CameraRig) -> Tables:
    """Sensors and one calibration for all scenes."""
    sensors: list[Row] = []
    calibrations: list[Row] = []
    mounts = [(LIDAR, LIDAR2EGO, []), *((c.channel, c.cam2ego, c.cam2img.tolist()) for c in rig)]
    for channel, sensor2ego, intrinsic in mounts:
        sensors.append(
            {
                'token': token('sensor', channel),
                'channel': channel,
                'modality': 'lidar' if channel == LIDAR else 'camera',
            }
        )
        calibrations.append(
            {
                'token': token('calibrated_sensor', channel),
                'sensor_token': token('sensor', channel),
                'translation': sensor2ego[:3, 3].tolist(),
                'rotation': matrix_quaternion(sensor2ego[:3, :3]),
                'camera_intrinsic': intrinsic,
            }
        )
    return {'sensor': sensors, 'calibrated_sensor': calibrations}


def _map_filename(location: str) -> str:
    return f'maps/{token("map", location)}.png'


def _map_row(city: CityMap, scenes: Sequence[SceneLog]) -> Row:
    return {
        'token': token('map', city.location),
        'log_tokens': [log_token(s.name) for s in scenes if s.location == city.location],
        'filename': _map_filename(city.location),
        'category': 'semantic_prior',
    }
