# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The arrays of one nuScenes scene, and the devkit's rule for velocities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NDArrayFloat = NDArray[np.float64]

_MAX_VELOCITY_GAP_S = 1.5


@dataclass(frozen=True)
class SceneTables:
    """One scene's key frames (F), cameras (6, in ``CAMERAS`` order) and annotations (A).

    Attributes:
        name: Scene name.
        token: Scene token.
        location: Name of the scene's map.
        sample_tokens: (F) tokens in time order.
        timestamps_us: (F,) int64.
        lidar2ego: (F, 4, 4).
        ego2global: (F, 4, 4) at the lidar's time.
        image_paths: F x 6 paths, relative to the data root.
        image_wh: (F, 6, 2) int64.
        cam2img: (F, 6, 3, 3).
        cam2ego: (F, 6, 4, 4).
        cam_ego2global: (F, 6, 4, 4) at each camera's time.
        frame: (A,) index of the annotation's key frame.
        boxes: (A, 7) global frame: x, y, z (gravity centre), l, w, h, yaw.
        velocity: (A, 2) m/s, global frame, NaN when unknown (the devkit's ``box_velocity``).
        labels: (A,) index into ``CATEGORIES``.
        instance_tokens: (A) tokens.
        num_pts: (A,) lidar and radar points in the box.
        visibility: (A,) nuScenes' level 1 to 4; 0 unknown.
    """

    name: str
    token: str
    location: str
    sample_tokens: list[str]
    timestamps_us: NDArray[np.int64]
    lidar2ego: NDArrayFloat
    ego2global: NDArrayFloat
    image_paths: list[list[str]]
    image_wh: NDArray[np.int64]
    cam2img: NDArrayFloat
    cam2ego: NDArrayFloat
    cam_ego2global: NDArrayFloat
    frame: NDArray[np.int64]
    boxes: NDArrayFloat
    velocity: NDArrayFloat
    labels: NDArray[np.int64]
    instance_tokens: list[str]
    num_pts: NDArray[np.int64]
    visibility: NDArray[np.int64]


def box_velocity(
    center_m: NDArrayFloat,
    time_s: NDArrayFloat,
    prev_index: NDArray[np.int64],
    next_index: NDArray[np.int64],
) -> NDArrayFloat:
    """Velocities from neighbouring annotations, by the rule of the devkit's ``box_velocity``.

    Central difference; one-sided at the ends of a track; NaN for a single annotation or when the
    annotations are more than 1.5 s apart (3 s for a central difference).

    Args:
        center_m: (A, 3) box centres, global frame.
        time_s: (A,) times of their samples.
        prev_index: (A,) index of the previous annotation of the object, -1 for none.
        next_index: (A,) index of the next one, -1 for none.

    Returns:
        (A, 2) m/s, global frame.
    """
    here = np.arange(len(center_m))
    has_prev, has_next = prev_index >= 0, next_index >= 0
    first = np.where(has_prev, prev_index, here)
    last = np.where(has_next, next_index, here)
    dt = time_s[last] - time_s[first]
    limit = np.where(has_prev & has_next, 2.0, 1.0) * _MAX_VELOCITY_GAP_S
    known = (has_prev | has_next) & (dt <= limit)
    step = center_m[last, :2] - center_m[first, :2]
    return np.asarray(np.where(known[:, None], step / np.where(known, dt, 1.0)[:, None], np.nan))
