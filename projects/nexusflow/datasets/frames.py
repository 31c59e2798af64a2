# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""From a sample of the info file to the frame that transforms work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nexusflow.datasets.info_file import CATEGORIES
from nexusflow.geometry.frames import camera_matrix
from nexusflow.geometry.polylines import is_closed, resample
from nexusflow.geometry.vector_map import AREA_CLASSES, MapRules

TRACK_CLASSES = ('car', 'truck', 'bus', 'trailer', 'pedestrian', 'motorcycle', 'bicycle')
"""The seven classes of nuScenes tracking; ``labels_3d`` index into this."""

Frame = dict[str, Any]


@dataclass(frozen=True)
class FrameSpec:
    """Which labels a frame carries.

    Attributes:
        data_root: Image paths of the info file start here.
        track_classes: Objects to keep; subset of the info file's categories.
        map_classes: Map classes to keep, in the order of their labels.
        num_points: Points per map element.
        track_range_m: (x_min, y_min, x_max, y_max) for box centres, lidar frame.
        map_range_m: Patch of the map vectors, lidar frame.
    """

    data_root: Path
    track_classes: Sequence[str]
    map_classes: Sequence[str]
    num_points: int
    track_range_m: Sequence[float]
    map_range_m: Sequence[float]

    def __post_init__(self) -> None:
        _check_names('track_classes', self.track_classes, CATEGORIES)
        _check_names('map_classes', self.map_classes, MapRules(centerlines=True).classes)

    def frame(self, sample: dict[str, Any], tasks: Sequence[str]) -> Frame:
        """Make one frame.

        Args:
            sample: A sample of the info file.
            tasks: Tasks for which its labels may be used in training.

        Returns:
            Dict with the sample's identity, ``cam_names``, ``img_paths``, ``ori_lidar2img``
            (N, 4, 4), ``lidar2global`` (4, 4), ``boxes`` (M, 9: x, y, z of the gravity centre,
            l, w, h, yaw, vx, vy), ``labels`` (M,), ``instance_ids`` (M,), ``map_labels`` (K,),
            ``map_pts`` (K, P, 2), ``map_closed`` (K,), ``map_areas`` (K,; outlines of an area,
            rings by nature), and the two ranges.
        """
        cameras = sample['images']
        keys = ('token', 'scene_token', 'scene_name', 'location', 'frame_idx', 'time_s')
        return {
            **{key: sample[key] for key in keys},
            'tasks': tuple(tasks),
            'cam_names': list(cameras),
            'img_paths': [str(self.data_root / c['img_path']) for c in cameras.values()],
            'ori_lidar2img': np.stack(
                [camera_matrix(c['cam2img'], c['lidar2cam']) for c in cameras.values()]
            ),
            'lidar2global': sample['ego2global'] @ sample['lidar2ego'],
            'track_range_m': tuple(self.track_range_m),
            'map_range_m': tuple(self.map_range_m),
            **self._objects(sample),
            **self._map(sample),
        }

    def _objects(self, sample: dict[str, Any]) -> dict[str, np.ndarray]:
        """Boxes of track classes in range with points, as the official evaluation keeps them."""
        index = [
            self.track_classes.index(name) if name in self.track_classes else -1
            for name in CATEGORIES
        ]
        labels = np.array(index, dtype=np.int64)[sample['labels']]
        near = in_range(sample['boxes'][:, :2], self.track_range_m)
        keep = (labels >= 0) & (sample['num_pts'] > 0) & near
        boxes = np.concatenate([sample['boxes'], sample['velocity']], axis=1)[keep]
        ids = sample['instance_ids'][keep]
        return {'boxes': boxes.astype(np.float64), 'labels': labels[keep], 'instance_ids': ids}

    def _map(self, sample: dict[str, Any]) -> dict[str, np.ndarray]:
        """Map elements, resampled and held within the patch."""
        vectors = sample['map_vectors'] or {}
        lines = [(i, v) for i, name in enumerate(self.map_classes) for v in vectors.get(name, [])]
        x0, y0, x1, y1 = self.map_range_m
        points = resample([v for _, v in lines], self.num_points)
        return {
            'map_labels': np.array([i for i, _ in lines], dtype=np.int64),
            'map_pts': np.clip(points, (x0, y0), (x1, y1)),
            'map_closed': is_closed([v for _, v in lines]),
            'map_areas': np.array(
                [self.map_classes[i] in AREA_CLASSES for i, _ in lines], dtype=bool
            ),
        }


def in_range(xy: np.ndarray, range_m: Sequence[float]) -> np.ndarray:
    """Which points lie in a rectangle.

    Args:
        xy: (N, 2) points.
        range_m: (x_min, y_min, x_max, y_max).

    Returns:
        (N,) flags.
    """
    low, high = np.asarray(range_m[:2]), np.asarray(range_m[2:])
    return np.asarray(((xy >= low) & (xy <= high)).all(axis=1))


def _check_names(key: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse names that are not known."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{key}: unknown class '{unknown[0]}'; known are {', '.join(known)}")
