# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Key frames, and which boxes in them the official tracking evaluation counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .box_columns import BoxColumns
from .submission import TRACKING_CLASSES

__all__ = ['CLASS_RANGE_M', 'KeyFrames', 'Racks', 'judged']

CLASS_RANGE_M = dict.fromkeys(('car', 'truck', 'bus', 'trailer'), 50.0) | dict.fromkeys(
    ('pedestrian', 'motorcycle', 'bicycle'), 40.0
)
"""Horizontal distance from the ego within which boxes of a class count."""

_CYCLES = [TRACKING_CLASSES.index(name) for name in ('bicycle', 'motorcycle')]
_RANGES_M = np.array([CLASS_RANGE_M[name] for name in TRACKING_CLASSES])


class Racks(NamedTuple):
    """K bicycle racks: frame (K,), center and size (K, 3; length, width, height), rotation (K, 3, 3)."""

    frame: NDArray[np.int64]
    center: NDArray[np.float64]
    size: NDArray[np.float64]
    rotation: NDArray[np.float64]


@dataclass(frozen=True)
class KeyFrames:
    """F key frames, scene by scene, in time order.

    Attributes:
        tokens: F sample tokens.
        scene: F scene names.
        step: (F,) place in the scene, from 0.
        time_us: (F,) microseconds.
        ego_xy: (F, 2) metres, global frame, at the time of the lidar.
        racks: Bicycle racks, global frame.
    """

    tokens: list[str]
    scene: list[str]
    step: NDArray[np.int64]
    time_us: NDArray[np.int64]
    ego_xy: NDArray[np.float64]
    racks: Racks


def judged(boxes: BoxColumns, frames: KeyFrames) -> NDArray[np.bool_]:
    """(N,) which boxes count: within the range of their class, and no cycle in a rack."""
    offset = boxes.center[:, :2] - frames.ego_xy[boxes.frame]
    out = np.sqrt((offset**2).sum(axis=1)) < _RANGES_M[boxes.label]
    cycle = np.isin(boxes.label, _CYCLES)
    for frame, center, size, rotation in zip(*frames.racks, strict=True):
        begin, end = np.searchsorted(boxes.frame, [frame, frame + 1])
        local = (boxes.center[begin:end] - center) @ rotation
        inside = (np.abs(local) <= size / 2).all(axis=1)
        out[begin:end] &= ~(inside & cycle[begin:end])
    return out
