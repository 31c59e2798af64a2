# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Contents from labels, files and data samples; trails over frames."""

from __future__ import annotations

import numpy as np

from nexusflow.datasets.info_file import load_info
from nexusflow.evaluation.functional.chamfer_ap import MapLines
from nexusflow.evaluation.functional.submission import SampleTracks
from nexusflow.geometry.frames import make_rigid
from nexusflow.visualization.content import (
    SampleContent,
    content_of_info,
    content_of_results,
)
from nexusflow.visualization.trails import with_trails


def test_labels_of_an_info_file(drawn_data):
    info = load_info(drawn_data.info_file)
    sample = info['data_list'][0]
    content = content_of_info(sample, info['metainfo']['categories'])
    expected = ['divider'] * 2 + ['ped_crossing'] + ['boundary'] * 2
    assert list(content.line_names) == expected
    assert content.boxes.shape == (3, 7)
    assert list(content.ids) == [0, 1, 2]
    unseen = sample | {'num_pts': np.array([0, 5, 5]), 'instance_ids': np.full(3, -1)}
    content = content_of_info(unseen | {'map_vectors': None}, info['metainfo']['categories'])
    assert list(content.ids) == ['box 0', 'box 1']
    assert content.lines == []
    cars = content_of_info(sample, info['metainfo']['categories'], ['car'])
    assert len(cars.boxes) == 2


def test_results_below_the_score_are_left_out():
    lines = MapLines([np.zeros((2, 2)), np.ones((2, 2))], np.array([0, 1]), np.array([0.2, 0.6]))
    tracks = SampleTracks(
        '',
        np.zeros((2, 7)),
        np.zeros((2, 2)),
        ['car'] * 2,
        np.array([0.9, 0.1]),
        ['s/1', 's/2'],
        np.eye(4),
    )
    content = content_of_results(lines, tracks, ['divider', 'boundary'])
    assert list(content.line_names) == ['boundary']
    assert content.ids == ['s/1']
    empty = content_of_results(None, None, ['divider'])
    assert len(empty.boxes) == len(empty.lines) == 0


def test_trail_of_a_parked_car_mirrors_the_ego_motion():
    """Ego drives 3 m in y per frame past a car that stands at global (5, 10)."""

    def frame(t):
        boxes = np.array([[5.0, 10.0 - 3.0 * t, 0, 4, 2, 1, 0]])
        return SampleContent(boxes=boxes, ids=['a']), make_rigid(np.eye(3), [0.0, 3.0 * t, 0.0])

    now, pose = frame(2)
    content = with_trails(now, [frame(0), frame(1)], pose)
    assert np.allclose(content.trails['a'], [[5, 4]] * 3)
    assert with_trails(now, [], pose).trails == {}
