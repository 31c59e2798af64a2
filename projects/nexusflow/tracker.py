# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Tracking and mapping in a robot's loop: images in, objects and map lines out, no runner and no data set.

tracker = Tracker.from_config('configs/nexusflow/nexusflow_tiny.py', 'iter_300.pth', 'cuda:0')
for images, ego_pose, time_s in robot:
    result = tracker.step(images, cameras, ego_pose, time_s)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet3d.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope

from .datasets.frames import TRACK_CLASSES, FrameSpec
from .engine.cli import require_checkpoint
from .engine.loading import build_model
from .evaluation.metrics.arrays import box_arrays, map_arrays, to_numpy
from .geometry.frames import invert_rigid
from .geometry.vector_map import MAP_CLASSES
from .models.map_track_detector import NexusMapTrackDetector
from .world.camera import LIDAR2EGO, Camera

_LOADING = 'NexusLoadMultiViewImages'


@dataclass(frozen=True)
class TrackerResult:
    """What is seen in one frame; lidar frame (x right, y forward, z up), metres, radians, seconds.

    Attributes:
        time_s: The frame's time as it was given.
        boxes: (M, 7) x, y, z of the centre, length, width, height, yaw.
        velocity: (M, 2) m/s.
        ids: (M,) track ids; an id is not used again before :meth:`Tracker.reset`.
        names: M class names.
        scores: (M,) in [0, 1].
        lines: (K, P, 2) map elements as points in order, the best first.
        line_names: K class names.
        line_scores: (K,) in [0, 1].
        lidar2global: (4, 4) brings all of it to the frame of the ego poses.
    """

    time_s: float
    boxes: np.ndarray
    velocity: np.ndarray
    ids: np.ndarray
    names: tuple[str, ...]
    scores: np.ndarray
    lines: np.ndarray
    line_names: tuple[str, ...]
    line_scores: np.ndarray
    lidar2global: np.ndarray


class Tracker:
    """A model with what it keeps between frames.

    Args:
        model: The detector; it is put into evaluation mode.
        transforms: From frames with raw images to the model's input, see :class:`NexusPackClip`.
        lidar2ego: (4, 4) where the model's lidar frame sits on the vehicle; it should be where it was in training.
        track_classes: Object classes in the order of the model's labels.
        map_classes: Map classes in the order of the model's labels.
    """

    def __init__(
        self,
        model: NexusMapTrackDetector,
        transforms: Sequence[Mapping[str, Any] | Callable[[dict], Any]],
        lidar2ego: np.ndarray = LIDAR2EGO,
        track_classes: Sequence[str] = TRACK_CLASSES,
        map_classes: Sequence[str] = MAP_CLASSES,
    ) -> None:
        self.model = model.eval()
        built = [TRANSFORMS.build(t) if isinstance(t, Mapping) else t for t in transforms]
        self._pipeline = Compose(built)
        self._lidar2ego = np.asarray(lidar2ego, dtype=np.float64)
        self._spec = FrameSpec(
            data_root=Path(),
            track_classes=tuple(track_classes),
            map_classes=tuple(map_classes),
            num_points=2,
            track_range_m=(0.0, 0.0, 0.0, 0.0),
            map_range_m=(0.0, 0.0, 0.0, 0.0),
        )
        self._runs = 0
        self.reset()

    @classmethod
    def from_config(
        cls,
        config: str | Path | Config,
        checkpoint: str,
        device: str | torch.device = 'cpu',
        lidar2ego: np.ndarray = LIDAR2EGO,
    ) -> Tracker:
        """The model of a configuration, with the transforms of its test pipeline.

        Args:
            config: File or object that the model was trained with.
            checkpoint: Its ``.pth`` file, or the work dir of a training: its latest one.
            device: 'cpu', 'cuda:0', ...
            lidar2ego: See :class:`Tracker`.

        Raises:
            FileNotFoundError: A file is missing.
            ValueError: The checkpoint is another model's.
        """
        cfg = config if isinstance(config, Config) else Config.fromfile(str(config))
        init_default_scope(cfg.get('default_scope', 'mmdet3d'))
        data = cfg.test_dataloader.dataset
        names = {key: data[key] for key in ('track_classes', 'map_classes') if key in data}
        transforms = [dict(t) for t in data.pipeline if t['type'] != _LOADING]
        return cls(
            build_model(cfg, require_checkpoint(checkpoint), device), transforms, lidar2ego, **names
        )

    def reset(self) -> None:
        """Forget everything; the next frame may be of any time and place."""
        self.model.streams.clear()
        self._runs += 1
        self._start_s = self._last_s = None

    def step(
        self,
        images: Mapping[str, np.ndarray | None],
        cameras: Sequence[Camera],
        ego_pose: np.ndarray,
        time_s: float,
    ) -> TrackerResult:
        """One frame.

        Args:
            images: (H, W, 3) uint8 RGB by camera channel. A camera without an image, or with None, is left out.
            cameras: Calibration of the cameras, for the images' size. If a camera fired at another time than
                ``time_s``, its pose should contain the ego's motion between.
            ego_pose: (4, 4) from the ego frame (x forward, y left, z up) to any fixed frame.
            time_s: Time of the frame, seconds from any start.

        Returns:
            Tracks and map lines of this frame.

        Raises:
            ValueError: Time does not go forward, no image, an image of a camera without calibration, or of a wrong
                kind or size.
        """
        if self._last_s is not None and time_s <= self._last_s:
            raise ValueError(
                f'time_s {time_s} is not after the last frame at {self._last_s}; call reset() to start anew'
            )
        seen = seen_cameras(images, cameras)
        item = self._pipeline({'frames': [self._frame(images, seen, ego_pose, time_s)]})
        with torch.no_grad():
            (sample,) = self.model.test_step(pseudo_collate([item]))
        self._start_s = time_s if self._start_s is None else self._start_s
        self._last_s = time_s
        return self._result(sample, time_s)

    def _frame(
        self,
        images: Mapping[str, np.ndarray | None],
        cameras: Sequence[Camera],
        ego_pose: np.ndarray,
        time_s: float,
    ) -> dict[str, Any]:
        """A frame without labels, as the data set makes them, with its images."""
        views = {
            camera.channel: {
                'img_path': '',
                'cam2img': camera.cam2img,
                'lidar2cam': invert_rigid(camera.cam2ego) @ self._lidar2ego,
            }
            for camera in cameras
        }
        info = {
            'token': f'run{self._runs}-{time_s}',
            'scene_token': f'run{self._runs}',
            'scene_name': f'run{self._runs}',
            'location': '',
            'frame_idx': 0,
            'time_s': 0.0 if self._start_s is None else time_s - self._start_s,
            'images': views,
            'ego2global': np.asarray(ego_pose, dtype=np.float64),
            'lidar2ego': self._lidar2ego,
            'boxes': np.zeros((0, 7), dtype=np.float32),
            'velocity': np.zeros((0, 2), dtype=np.float32),
            'labels': np.zeros(0, dtype=np.int64),
            'instance_ids': np.zeros(0, dtype=np.int64),
            'num_pts': np.zeros(0, dtype=np.int64),
            'map_vectors': None,
        }
        frame = self._spec.frame(info, tasks=())
        frame['imgs'] = [images[camera.channel] for camera in cameras]
        frame['lidar2img'] = frame['ori_lidar2img'].copy()
        return frame

    def _result(self, sample: Any, time_s: float) -> TrackerResult:
        """Arrays and names of a predicted sample."""
        found, lines = sample.pred_instances_3d, map_arrays(dict(sample.pred_map.items()))
        arrays = box_arrays(found.bboxes_3d)
        return TrackerResult(
            time_s=time_s,
            boxes=arrays.boxes,
            velocity=arrays.velocity,
            ids=to_numpy(found.track_ids),
            names=tuple(self._spec.track_classes[i] for i in found.labels_3d.tolist()),
            scores=to_numpy(found.scores_3d),
            lines=lines.pts_m,
            line_names=tuple(self._spec.map_classes[i] for i in lines.labels),
            line_scores=lines.scores,
            lidar2global=sample.lidar2global,
        )


def seen_cameras(
    images: Mapping[str, np.ndarray | None], cameras: Sequence[Camera]
) -> list[Camera]:
    """Cameras that have an image, in their own order.

    Raises:
        ValueError: See :meth:`Tracker.step`.
    """
    unknown = sorted(set(images) - {camera.channel for camera in cameras})
    if unknown:
        raise ValueError(f"image of '{unknown[0]}', but cameras has no calibration of that channel")
    seen = [camera for camera in cameras if images.get(camera.channel) is not None]
    if not seen:
        raise ValueError('no camera has an image; leave the frame out instead')
    for camera in seen:
        image = images[camera.channel]
        wanted = (camera.height, camera.width, 3)
        if image.shape != wanted or image.dtype != np.uint8:
            raise ValueError(
                f"image of '{camera.channel}' is {image.dtype} {image.shape}, its calibration is for "
                f'uint8 {wanted}'
            )
    return seen
