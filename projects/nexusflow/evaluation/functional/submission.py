# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Tracks in the lidar frame to the official nuScenes tracking submission, and back.

Format: https://www.nuscenes.org/tracking (nuscenes-devkit 1.2, ``docs`` of
``nuscenes.eval.tracking``): global frame, size in the order width, length, height, quaternion
scalar first, horizontal velocity.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexusflow.geometry.boxes import (
    boxes_to_global,
    boxes_to_lidar,
    velocity_to_global,
    velocity_to_lidar,
)

from .files import read_json, write_json

__all__ = [
    'MAX_BOXES',
    'TRACKING_CLASSES',
    'SampleTracks',
    'read_submission',
    'to_submission',
    'tracks_from_submission',
    'write_submission',
]

TRACKING_CLASSES = ('bicycle', 'bus', 'car', 'motorcycle', 'pedestrian', 'trailer', 'truck')
"""Classes of the official evaluation; it refuses all others."""

MAX_BOXES = 500
"""Boxes per sample that the official evaluation accepts."""


@dataclass(frozen=True)
class SampleTracks:
    """The tracked boxes of one sample.

    Attributes:
        scene: Name of the scene; with a track id it names a track of the data set.
        boxes: (M, 7) x, y, z of the gravity centre, length, width, height, yaw; lidar frame,
            metres, radians.
        velocity: (M, 2) lidar frame, m/s; NaN (unknown) is submitted as 0.
        names: M class names.
        scores: (M,) confidence.
        track_ids: (M,) ids, unique in the scene, or any text.
        lidar2global: (4, 4) pose of the lidar.
    """

    scene: str
    boxes: NDArray[np.floating]
    velocity: NDArray[np.floating]
    names: Sequence[str]
    scores: NDArray[np.floating]
    track_ids: Sequence[Any]
    lidar2global: NDArray[np.floating]


def to_submission(
    samples: Mapping[str, SampleTracks], meta: Mapping[str, bool] | None = None
) -> dict[str, Any]:
    """The submission of a data set.

    Args:
        samples: Token to its tracks; samples without boxes must be there too.
        meta: Overrides of the official flags ``use_camera`` (true), ``use_lidar`` ... (false).

    Returns:
        Content of the submission, sorted by token; of more than 500 boxes the best scored are kept.

    Raises:
        ValueError: A class that is not tracked, the same id twice in a sample, NaN, or fields of
            unequal length.
    """
    inputs = ('camera', 'lidar', 'radar', 'map', 'external')
    flags = {f'use_{name}': name == 'camera' for name in inputs}
    results = {token: _sample_boxes(token, samples[token]) for token in sorted(samples)}
    return {'meta': flags | dict(meta or {}), 'results': results}


def _sample_boxes(token: str, tracks: SampleTracks) -> list[dict[str, Any]]:
    """The boxes of one sample in the official form."""
    _check(token, tracks)
    keep = np.sort(np.argsort(-np.asarray(tracks.scores), kind='stable')[:MAX_BOXES])
    boxes = boxes_to_global(np.asarray(tracks.boxes).reshape(-1, 7)[keep], tracks.lidar2global)
    velocity = np.nan_to_num(np.asarray(tracks.velocity).reshape(-1, 2)[keep])
    velocity = velocity_to_global(velocity, tracks.lidar2global)
    return [
        {
            'sample_token': token,
            'translation': box[:3].round(5).tolist(),
            'size': box[[4, 3, 5]].round(5).tolist(),
            'rotation': [float(np.cos(box[6] / 2)), 0.0, 0.0, float(np.sin(box[6] / 2))],
            'velocity': speed.round(5).tolist(),
            'tracking_id': f'{tracks.scene}/{tracks.track_ids[i]}',
            'tracking_name': tracks.names[i],
            'tracking_score': float(tracks.scores[i]),
        }
        for i, box, speed in zip(keep, boxes, velocity, strict=True)
    ]


def _check(token: str, tracks: SampleTracks) -> None:
    """Raise ``ValueError`` on tracks that the official evaluation would refuse or misread."""
    fields = ('boxes', 'velocity', 'names', 'scores', 'track_ids')
    sizes = {name: len(getattr(tracks, name)) for name in fields}
    if len(set(sizes.values())) > 1:
        raise ValueError(f'sample {token}: fields of unequal length {sizes}')
    wrong = sorted(set(tracks.names) - set(TRACKING_CLASSES))
    if wrong:
        raise ValueError(
            f'sample {token}: {wrong} are not tracking classes; remove them before submitting,'
            f' known: {list(TRACKING_CLASSES)}'
        )
    if not (np.isfinite(tracks.boxes).all() and np.isfinite(tracks.scores).all()):
        raise ValueError(
            f'sample {token}: boxes or scores are NaN or infinite; has the training diverged?'
        )
    ids, counts = np.unique([str(i) for i in tracks.track_ids], return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f'sample {token}: track id {ids[counts > 1][0]} is given to {counts.max()} boxes'
        )


def write_submission(path: str | os.PathLike[str], submission: Mapping[str, Any]) -> None:
    """Write a submission atomically."""
    write_json(path, submission)


def read_submission(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a submission.

    Raises:
        ValueError: No ``meta`` or no ``results``; the message names the file.
    """
    content = read_json(path)
    missing = {'meta', 'results'} - set(content if isinstance(content, dict) else ())
    if missing:
        raise ValueError(
            f'{path}: no field {sorted(missing)}; expected a nuScenes tracking submission'
        )
    return content


def tracks_from_submission(
    boxes: Sequence[Mapping[str, Any]], lidar2global: NDArray[np.floating]
) -> SampleTracks:
    """Inverse of :func:`to_submission` for one sample, of boxes upright in the global frame.

    Args:
        boxes: The boxes of the sample in the official form.
        lidar2global: (4, 4) pose of the lidar.

    Returns:
        The tracks in the lidar frame; ``scene`` is empty, ids keep their full text.
    """
    quaternion = np.array([box['rotation'] for box in boxes], dtype=np.float64).reshape(-1, 4)
    w, x, y, z = quaternion.T
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    center = np.array([box['translation'] for box in boxes], dtype=np.float64).reshape(-1, 3)
    size = np.array([box['size'] for box in boxes], dtype=np.float64).reshape(-1, 3)[:, [1, 0, 2]]
    velocity = np.array([box['velocity'] for box in boxes], dtype=np.float64).reshape(-1, 2)
    return SampleTracks(
        scene='',
        boxes=boxes_to_lidar(np.concatenate([center, size, yaw[:, None]], axis=1), lidar2global),
        velocity=velocity_to_lidar(velocity, lidar2global),
        names=[box['tracking_name'] for box in boxes],
        scores=np.array([box['tracking_score'] for box in boxes], dtype=np.float64),
        track_ids=[box['tracking_id'] for box in boxes],
        lidar2global=np.asarray(lidar2global, dtype=np.float64),
    )
