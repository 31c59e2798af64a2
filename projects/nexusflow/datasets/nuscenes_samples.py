# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""One scene's arrays -> its samples of the info file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nexusflow.datasets.info_file import CAMERAS
from nexusflow.datasets.nuscenes_scene import SceneTables
from nexusflow.geometry.boxes import boxes_to_lidar, velocity_to_lidar
from nexusflow.geometry.frames import invert_rigid
from nexusflow.geometry.vector_map import MapIndex


def scene_samples(
    scene: SceneTables, map_index: MapIndex | None, map_range_m: Sequence[float]
) -> list[dict[str, Any]]:
    """Make one scene's samples of the info file.

    Args:
        scene: The scene's arrays.
        map_index: Its city's map; None leaves ``map_vectors`` None.
        map_range_m: Patch of the map vectors.

    Returns:
        Samples in time order; ``instance_ids`` are filled in when the scenes are merged.
    """
    lidar2global = scene.ego2global @ scene.lidar2ego
    lidar2cam = (
        invert_rigid(scene.cam2ego) @ invert_rigid(scene.cam_ego2global) @ lidar2global[:, None]
    )
    box_pose = lidar2global[scene.frame]
    boxes = boxes_to_lidar(scene.boxes, box_pose).astype(np.float32)
    velocity = velocity_to_lidar(scene.velocity, box_pose).astype(np.float32)
    tokens = ['', *scene.sample_tokens, '']
    bounds = np.searchsorted(scene.frame, np.arange(len(scene.sample_tokens) + 1))
    samples = []
    for f, token in enumerate(scene.sample_tokens):
        own = slice(bounds[f], bounds[f + 1])
        samples.append(
            {
                'token': token,
                'scene_token': scene.token,
                'scene_name': scene.name,
                'frame_idx': f,
                'prev': tokens[f],
                'next': tokens[f + 2],
                'timestamp_us': int(scene.timestamps_us[f]),
                'time_s': float(scene.timestamps_us[f] - scene.timestamps_us[0]) * 1e-6,
                'location': scene.location,
                'ego2global': scene.ego2global[f],
                'lidar2ego': scene.lidar2ego[f],
                'images': _images(scene, lidar2cam, f),
                'boxes': boxes[own],
                'velocity': velocity[own],
                'labels': scene.labels[own],
                'instance_tokens': scene.instance_tokens[own],
                'num_pts': scene.num_pts[own],
                'visibility': scene.visibility[own],
                'map_vectors': _map_vectors(map_index, lidar2global[f], map_range_m),
            }
        )
    return samples


def _images(scene: SceneTables, lidar2cam: np.ndarray, f: int) -> dict[str, dict[str, Any]]:
    """The cameras of key frame f."""
    return {
        name: {
            'img_path': scene.image_paths[f][c],
            'cam2img': scene.cam2img[f, c],
            'cam2ego': scene.cam2ego[f, c],
            'lidar2cam': lidar2cam[f, c],
            'width': int(scene.image_wh[f, c, 0]),
            'height': int(scene.image_wh[f, c, 1]),
        }
        for c, name in enumerate(CAMERAS)
    }


def _map_vectors(
    index: MapIndex | None, lidar2global: np.ndarray, map_range_m: Sequence[float]
) -> dict[str, list[np.ndarray]] | None:
    """Map lines around one pose, in the order of the classes."""
    if index is None:
        return None
    lines = index.extract(lidar2global, map_range_m)
    return {name: [line.astype(np.float32) for line in lines[name]] for name in index.rules.classes}
