# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Where the objects of a sample have been in the frames before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nexusflow.geometry.frames import invert_rigid, transform_points

from .content import SampleContent

__all__ = ['with_trails']


def with_trails(
    content: SampleContent,
    earlier: Iterable[tuple[SampleContent, NDArray[np.floating]]],
    lidar2global: NDArray[np.floating],
) -> SampleContent:
    """Add trails to a content.

    Args:
        content: The sample to draw.
        earlier: Contents of the frames before it, oldest first, each with its (4, 4) lidar2global.
        lidar2global: (4, 4) pose of the sample to draw.

    Returns:
        The content with a trail for every box that was seen before; it ends at the box.
    """
    paths: dict[object, list[NDArray[np.float64]]] = {}
    for seen, pose in [*earlier, (content, lidar2global)]:
        for track_id, place in _global_centers(seen.boxes, seen.ids, pose).items():
            paths.setdefault(track_id, []).append(place)
    to_lidar = invert_rigid(lidar2global)
    trails = {
        track_id: transform_points(to_lidar, np.stack(paths[track_id]))[:, :2]
        for track_id in content.ids
        if len(paths[track_id]) > 1
    }
    return replace(content, trails=trails)


def _global_centers(
    boxes: NDArray[np.floating], ids: Sequence[object], lidar2global: NDArray[np.floating]
) -> Mapping[object, NDArray[np.float64]]:
    """Identity to box centre (3,) in the global frame."""
    centers = transform_points(lidar2global, np.asarray(boxes).reshape(-1, 7)[:, :3])
    return dict(zip(ids, centers, strict=True))
