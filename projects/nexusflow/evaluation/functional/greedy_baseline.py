# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Tracks of a data set by the greedy tracker, to be judged beside a model's own tracks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from nexusflow.geometry.boxes import boxes_to_global, velocity_to_global

from .greedy_tracker import Detections, GreedyTracker
from .submission import SampleTracks

__all__ = ['TimedBoxes', 'greedy_tracks']


class TimedBoxes(NamedTuple):
    """Boxes of a sample, and the seconds since its scene began; track ids are not read."""

    boxes: SampleTracks
    time_s: float


def greedy_tracks(
    samples: Mapping[str, TimedBoxes], tracker: GreedyTracker | None = None, min_score: float = 0.0
) -> dict[str, SampleTracks]:
    """Link detections into tracks, scene by scene in time order.

    Args:
        samples: Token to detections, lidar frame.
        tracker: The linking rule; CenterPoint's by default.
        min_score: Detections of a lower score are left out.

    Returns:
        Token to the detections that are left, with track ids.
    """
    tracker = tracker or GreedyTracker()
    order = sorted(samples, key=lambda token: (samples[token].boxes.scene, samples[token].time_s))
    out: dict[str, SampleTracks] = {}
    scene = None
    for token in order:
        found, time_s = samples[token]
        if found.scene != scene:
            tracker.reset()
            scene = found.scene
        keep = np.flatnonzero(np.asarray(found.scores) >= min_score)
        boxes, velocity = np.asarray(found.boxes)[keep], np.asarray(found.velocity)[keep]
        names, scores = [found.names[index] for index in keep], np.asarray(found.scores)[keep]
        seen = Detections(
            center_xy=boxes_to_global(boxes.reshape(-1, 7), found.lidar2global)[:, :2],
            velocity=velocity_to_global(velocity.reshape(-1, 2), found.lidar2global),
            names=names,
            scores=scores,
            time_s=time_s,
        )
        kept = replace(found, boxes=boxes, velocity=velocity, names=names, scores=scores)
        out[token] = replace(kept, track_ids=tracker.step(seen).tolist())
    return out
