# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The greedy baseline: who is linked to whom."""

from __future__ import annotations

import numpy as np
import pytest

from nexusflow.evaluation.functional.greedy_baseline import TimedBoxes, greedy_tracks
from nexusflow.evaluation.functional.greedy_tracker import (
    MAX_DISTANCE_M,
    Detections,
    GreedyTracker,
)
from nexusflow.evaluation.functional.submission import TRACKING_CLASSES, SampleTracks
from nexusflow.geometry.boxes import boxes_to_lidar, velocity_to_lidar
from nexusflow.geometry.frames import make_rigid, rotation_from_quaternion


def frame(time_s, *found):
    """Detections from (name, x, vx, score)."""
    names = [row[0] for row in found]
    x, speed, scores = np.array([row[1:] for row in found], dtype=float).reshape(-1, 3).T
    none = np.zeros_like(x)
    return Detections(np.stack([x, none], 1), np.stack([speed, none], 1), names, scores, time_s)


def run(tracker, *frames):
    return [tracker.step(one).tolist() for one in frames]


def test_velocity_decides_between_two_cars_that_pass_each_other():
    first = frame(0.0, ('car', 0.0, 8.0, 0.9), ('car', 5.0, -8.0, 0.9))
    later = frame(0.5, ('car', 4.0, 8.0, 0.9), ('car', 1.0, -8.0, 0.9))
    assert run(GreedyTracker(), first, later) == [[0, 1], [0, 1]]
    still = frame(0.5, ('car', 4.0, np.nan, 0.9), ('car', 1.0, 0.0, 0.9))
    assert run(GreedyTracker(), first, still) == [[0, 1], [1, 0]]


def test_the_better_detection_chooses_first():
    first = frame(0.0, ('car', 0.0, 0.0, 0.9))
    later = frame(0.5, ('car', 0.1, 0.0, 0.2), ('car', 1.0, 0.0, 0.8))
    assert run(GreedyTracker(), first, later) == [[0], [1, 0]]


def test_links_stay_within_class_and_distance():
    first = frame(0.0, ('car', 0.0, 0.0, 0.9), ('pedestrian', 10.0, 0.0, 0.9))
    later = frame(0.5, ('truck', 0.0, 0.0, 0.9), ('pedestrian', 11.1, 0.0, 0.9))
    assert run(GreedyTracker(), first, later) == [[0, 1], [2, 3]]


def test_a_lost_track_moves_on_and_waits_as_long_as_patience_lasts():
    car = frame(0.0, ('car', 0.0, 10.0, 0.9))
    empty = [frame(0.5 * k) for k in (1, 2, 3)]
    back = frame(2.0, ('car', 20.0, 10.0, 0.9))
    assert run(GreedyTracker(patience=3), car, *empty, back)[-1] == [0]
    assert run(GreedyTracker(patience=2), car, *empty, back)[-1] == [1]


def test_bad_input_is_named():
    tracker = GreedyTracker()
    tracker.step(frame(1.0))
    with pytest.raises(ValueError, match=r'a frame at 0\.5 s follows one at 1\.0 s'):
        tracker.step(frame(0.5))
    with pytest.raises(ValueError, match=r"no largest distance for \['barrier'\]"):
        tracker.step(frame(2.0, ('barrier', 0.0, 0.0, 1.0)))
    assert set(MAX_DISTANCE_M) == set(TRACKING_CLASSES)


def test_scenes_are_tracked_apart_in_the_global_frame():
    """A car that stands; the lidar drives and turns; samples come in any order, scores decide."""
    samples = {}
    for scene in ('one', 'two'):
        for k in range(3):
            turn = rotation_from_quaternion([np.cos(0.4 * k), 0, 0, np.sin(0.4 * k)])
            pose = make_rigid(turn, [500.0 + 6.0 * k, 80.0, 1.8])
            box = np.array([[510.0, 90.0, 1.0, 4.5, 1.9, 1.6, 0.3]])
            found = SampleTracks(
                scene=scene,
                boxes=np.repeat(boxes_to_lidar(box, pose), 2, axis=0),
                velocity=np.repeat(velocity_to_lidar([[0.0, 0.0]], pose), 2, axis=0),
                names=['car', 'truck'],
                scores=np.array([0.9, 0.05]),
                track_ids=[-1, -1],
                lidar2global=pose,
            )
            samples[f'{scene}-{2 - k}'] = TimedBoxes(found, 0.5 * k)
    out = greedy_tracks(samples, min_score=0.1)
    assert set(out) == set(samples)
    assert all(list(one.track_ids) == [0] and one.names == ['car'] for one in out.values())
    assert out['one-0'].boxes.shape == (1, 7)
