# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Made-up batches for tests, as ``mmdet3d.testing`` has them: no file is read, every label is consistent.

The labels are those of a small world: an ego that drives a bend, objects of constant velocity of which one leaves and
one appears, and lines on the ground, seen from each frame's lidar. The images are noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dataset import pseudo_collate

from nexusflow.datasets.frames import Frame, in_range
from nexusflow.datasets.transforms.dense_packing import NexusPackDense
from nexusflow.datasets.transforms.packing import NexusPackClip
from nexusflow.geometry.boxes import boxes_to_lidar, velocity_to_lidar
from nexusflow.geometry.frames import camera_matrix, invert_rigid, make_rigid, transform_points
from nexusflow.geometry.polylines import is_closed, resample
from nexusflow.geometry.vector_map import AREA_CLASSES, MAP_CLASSES
from nexusflow.world.camera import LIDAR2EGO, nuscenes_like_rig

SECONDS_PER_FRAME = 0.5
NUM_OBJECTS = 6
MAP_RANGE_M = (-15.0, -30.0, 15.0, 30.0)
TRACK_RANGE_M = (-51.2, -51.2, 51.2, 51.2)
DENSE_TASKS = ('segmentation', 'depth', 'normal')
# class, length, width, height; the object with index 1 leaves, 2 appears, 3 has no known velocity
_OBJECTS = (
    (0, 4.5, 1.9, 1.6),
    (4, 0.7, 0.6, 1.8),
    (0, 4.2, 1.8, 1.5),
    (1, 8.0, 2.5, 3.0),
    (6, 1.8, 0.6, 1.6),
    (2, 11.0, 2.9, 3.4),
)
_LEAVES, _APPEARS, _UNKNOWN_VELOCITY = 1, 2, 3
# class and vertices in metres, x right and y forward of where the clip starts
_LINES = (
    (0, ((0.0, -12.0), (0.2, 4.0), (1.0, 20.0))),
    (1, ((-4.0, 8.0), (4.0, 8.0), (4.0, 12.0), (-4.0, 12.0), (-4.0, 8.0))),
    (2, ((6.0, -10.0), (6.0, 6.0), (7.0, 18.0))),
    (2, ((-6.0, 18.0), (-6.0, -10.0))),
)


def make_clip_batch(
    batch: int = 2,
    frames: int = 3,
    image_hw: tuple[int, int] = (64, 96),
    tasks: Sequence[str] | Sequence[Sequence[str]] = ('map', 'track'),
    seed: int = 0,
) -> dict[str, Any]:
    """Make a collated batch of clips, as a data loader gives it to a model's preprocessor.

    Args:
        batch: Clips B; each is a scene of its own.
        frames: Frames T of a clip, half a second apart.
        image_hw: Height and width of the six images, pixels.
        tasks: Names of the tasks that all clips are labelled for, or one such sequence a clip.
        seed: Another seed gives other images, places and motions.

    Returns:
        'inputs': {'img': B tensors (T, 6, 3, H, W) uint8}, 'data_samples': T lists of B samples with
        ``gt_instances_3d`` and ``gt_map``, lidar frame.

    Raises:
        ValueError: The number of task sequences is not the number of clips.

    Example:
        >>> data = make_clip_batch(batch=1, frames=2, image_hw=(32, 64))
        >>> data['inputs']['img'][0].shape
        torch.Size([2, 6, 3, 32, 64])
        >>> data['data_samples'][1][0].frame_idx
        1
    """
    each = _one_each(tasks, batch)
    rng = np.random.default_rng(seed)
    pack = NexusPackClip()
    clips = [
        pack.transform({'frames': _make_clip(b, frames, image_hw, tuple(each[b]), rng)})
        for b in range(batch)
    ]
    return dict(pseudo_collate(clips))


def make_dense_batch(
    batch: int = 2,
    image_hw: tuple[int, int] = (64, 96),
    tasks: Sequence[str] | Sequence[Sequence[str]] = DENSE_TASKS,
    seed: int = 0,
    num_classes: int = 13,
) -> dict[str, Any]:
    """Make a collated batch of images with dense labels, as a data loader gives it to a model's preprocessor.

    Every pixel is drawn by itself; a tenth of the labels is not valid.

    Args:
        batch: Images B.
        image_hw: Height and width, pixels.
        tasks: Names of the tasks that all images are labelled for, or one such sequence an image.
        seed: Another seed gives other images and labels.
        num_classes: Number of classes.

    Returns:
        'inputs': {'img': B tensors (3, H, W) in [0, 1]}, 'data_samples': B samples with ``gt_sem_seg``,
        ``gt_depth`` and ``gt_normal``.

    Example:
        >>> make_dense_batch(image_hw=(8, 16))['data_samples'][1].gt_normal.data.shape
        torch.Size([3, 8, 16])
    """
    rng = np.random.default_rng(seed)
    items = []
    for index, labelled in enumerate(_one_each(tasks, batch)):
        known = [rng.random(image_hw) < 0.9 for _ in DENSE_TASKS]
        normal = rng.normal(size=(*image_hw, 3))
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        results = {
            'img': rng.random((*image_hw, 3), dtype=np.float32),
            'gt_sem_seg': np.where(known[0], rng.integers(num_classes, size=image_hw), -1),
            'gt_depth': (known[1] * rng.uniform(0.5, 8.0, image_hw)).astype(np.float32),
            'gt_normal': (known[2][..., None] * normal).astype(np.float32),
            'sample_idx': index,
            'img_path': f'{index}.npy',
            'tasks': tuple(labelled),
        }
        items.append(NexusPackDense().transform(results))
    return dict(pseudo_collate(items))


def _one_each(
    tasks: Sequence[str] | Sequence[Sequence[str]], batch: int
) -> Sequence[Sequence[str]]:
    """A sequence of task names for each item of a batch."""
    each = [tasks] * batch if all(isinstance(task, str) for task in tasks) else list(tasks)
    if len(each) != batch:
        raise ValueError(f'tasks: {len(each)} sequences for batch {batch}; give one for each item')
    return each


def make_rig(image_hw: tuple[int, int]) -> np.ndarray:
    """Projections of the six cameras from the lidar frame to pixels, (6, 4, 4)."""
    rig = nuscenes_like_rig((image_hw[1], image_hw[0]))
    return np.stack([camera_matrix(cam.cam2img, cam.ego2cam @ LIDAR2EGO) for cam in rig])


def _make_clip(
    index: int,
    frames: int,
    image_hw: tuple[int, int],
    tasks: tuple[str, ...],
    rng: np.random.Generator,
) -> list[Frame]:
    """Frames of one clip, far from the origin of the global frame as real ones are."""
    poses = _drive(frames, rng)
    objects = np.zeros((NUM_OBJECTS, 9))
    objects[:, :2] = rng.uniform((-25, -25), (25, 25), (NUM_OBJECTS, 2)) + poses[0, :2, 3]
    objects[:, 2] = [height / 2 for _, _, _, height in _OBJECTS]
    objects[:, 3:6] = [sizes for _, *sizes in _OBJECTS]
    objects[:, 6] = rng.uniform(-np.pi, np.pi, NUM_OBJECTS)
    speed = rng.uniform(0, 5, (NUM_OBJECTS, 1))
    objects[:, 7:] = speed * np.stack([np.cos(objects[:, 6]), np.sin(objects[:, 6])], axis=1)
    clip = []
    for t, pose in enumerate(poses):
        identity = {
            'token': f'clip{index}-frame{t}',
            'scene_token': f'clip{index}',
            'scene_name': f'scene-{index:04d}',
            'location': ('boston-seaport', 'singapore-onenorth')[index % 2],
            'frame_idx': t,
            'time_s': t * SECONDS_PER_FRAME,
            'tasks': tasks,
        }
        labels = {**_see_objects(objects, t, pose, index), **_see_lines(poses[0], pose)}
        clip.append({**identity, **labels, **_see_images(image_hw, rng), 'lidar2global': pose})
    return clip


def _drive(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Lidar poses (T, 4, 4) in the global frame of an ego that drives a bend at 4 m/s."""
    yaw = rng.uniform(-np.pi, np.pi) + rng.uniform(-0.3, 0.3) * np.arange(frames)
    forward = np.stack([-np.sin(yaw), np.cos(yaw), np.zeros(frames)], axis=-1)
    steps = 4.0 * SECONDS_PER_FRAME * forward
    place = rng.uniform(500, 2000, 3) * (1, 1, 0) + np.cumsum(steps, axis=0) - steps[:1]
    right = np.stack([np.cos(yaw), np.sin(yaw), np.zeros(frames)], axis=-1)
    up = np.tile([0.0, 0.0, 1.0], (frames, 1))
    return make_rigid(np.stack([right, forward, up], axis=-1), place + (0, 0, LIDAR2EGO[2, 3]))


def _see_objects(objects: np.ndarray, t: int, pose: np.ndarray, index: int) -> Frame:
    """Boxes that are there in frame t and in range, with velocities, classes and ids."""
    boxes = objects.copy()
    boxes[:, :2] += objects[:, 7:] * t * SECONDS_PER_FRAME
    boxes[:, :7] = boxes_to_lidar(boxes[:, :7], pose)
    boxes[:, 7:] = velocity_to_lidar(boxes[:, 7:], pose)
    boxes[_UNKNOWN_VELOCITY, 7:] = np.nan
    keep = in_range(boxes[:, :2], TRACK_RANGE_M)
    keep[_LEAVES] &= t == 0
    keep[_APPEARS] &= t > 0
    return {
        'boxes': boxes[keep],
        'labels': np.array([label for label, *_ in _OBJECTS], dtype=np.int64)[keep],
        'instance_ids': (100 * index + np.arange(NUM_OBJECTS))[keep],
    }


def _see_lines(start: np.ndarray, pose: np.ndarray) -> Frame:
    """Map elements that lie wholly in the map range."""
    start2lidar = invert_rigid(pose) @ start
    lines = [np.pad(np.array(line), ((0, 0), (0, 1))) for _, line in _LINES]
    lines = [transform_points(start2lidar, line)[:, :2] for line in lines]
    keep = [k for k, line in enumerate(lines) if in_range(line, MAP_RANGE_M).all()]
    kept = [lines[k] for k in keep]
    return {
        'map_labels': np.array([_LINES[k][0] for k in keep], dtype=np.int64),
        'map_pts': resample(kept, 20),
        'map_closed': is_closed(kept),
        'map_areas': np.array(
            [MAP_CLASSES[_LINES[k][0]] in AREA_CLASSES for k in keep], dtype=bool
        ),
    }


def _see_images(image_hw: tuple[int, int], rng: np.random.Generator) -> Frame:
    """Noise of six cameras, and their projections."""
    rig = nuscenes_like_rig((image_hw[1], image_hw[0]))
    lidar2img = make_rig(image_hw)
    return {
        'cam_names': [cam.channel for cam in rig],
        'img_paths': [f'{cam.channel}.jpg' for cam in rig],
        'imgs': list(rng.integers(0, 256, (len(rig), *image_hw, 3), dtype=np.uint8)),
        'lidar2img': lidar2img,
        'ori_lidar2img': lidar2img.copy(),
    }
