# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Prediction and label fields of a data sample as numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..functional.chamfer_ap import MapLines

__all__ = ['BoxArrays', 'box_arrays', 'map_arrays', 'to_numpy']


class BoxArrays(NamedTuple):
    """Boxes of one sample, lidar frame, metres and radians.

    Attributes:
        boxes: (M, 7) x, y, z of the gravity centre, length, width, height, yaw.
        velocity: (M, 2) m/s.
    """

    boxes: NDArray[np.float64]
    velocity: NDArray[np.float64]


def to_numpy(value: Any) -> NDArray[Any]:
    """A tensor on any device, or anything array-like, as an array."""
    if hasattr(value, 'detach'):
        value = value.detach().cpu()
    return np.asarray(value)


def box_arrays(bboxes_3d: Any) -> BoxArrays:
    """Arrays of ``LiDARInstance3DBoxes`` (M, 9), which keep the bottom centre inside."""
    tensor = to_numpy(bboxes_3d.tensor).astype(np.float64)
    center = to_numpy(bboxes_3d.gravity_center).astype(np.float64)
    return BoxArrays(np.concatenate([center, tensor[:, 3:7]], axis=1), tensor[:, 7:9])


def map_arrays(elements: Mapping[str, Any]) -> MapLines:
    """Arrays of ``pred_map`` or ``gt_map`` (labels, pts_m); scores are 1 where none are given."""
    pts = to_numpy(elements['pts_m']).astype(np.float64)
    scores = to_numpy(elements['scores']) if 'scores' in elements else np.ones(len(pts))
    return MapLines(pts, to_numpy(elements['labels']).astype(np.int64), scores.astype(np.float64))
