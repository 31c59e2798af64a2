# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Submissions that the official evaluation would refuse are refused with the sample and the field."""

from __future__ import annotations

import numpy as np
import pytest

from nexusflow.evaluation.functional.submitted_boxes import submitted_boxes, submitted_tracks
from nexusflow.evaluation.functional.tracking_frames import KeyFrames, Racks

NO_RACKS = Racks(np.zeros(0, int), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3, 3)))
FRAMES = KeyFrames(
    tokens=['a', 'b', 'c'],
    scene=['s', 's', 's'],
    step=np.arange(3),
    time_us=np.array([0, 500_000, 1_500_000]),
    ego_xy=np.zeros((3, 2)),
    racks=NO_RACKS,
)


def box(**changes):
    out = {'sample_token': 'a', 'translation': [1.0, 2.0, 0.0], 'size': [2.0, 4.0, 1.5]}
    out |= {'rotation': [1.0, 0.0, 0.0, 0.0], 'velocity': [float('nan'), 0.0]}
    return out | {'tracking_id': 1, 'tracking_name': 'car', 'tracking_score': 0.5} | changes


def test_columns_follow_the_frames_and_ids_of_any_type_are_numbered():
    results = {'c': [box()], 'a': [box(), box(tracking_id='x')], 'b': [], 'other': 'not read'}
    out = submitted_boxes(results, FRAMES)
    assert out.frame.tolist() == [0, 0, 2]
    assert out.track.tolist() == [0, 1, 0]
    assert out.score.tolist() == [0.5, 0.5, 0.5]


def test_what_the_devkit_fills_in_or_drops():
    scoreless = box()
    del scoreless['tracking_score']
    results = {'a': [scoreless, box(tracking_id=2, num_pts=0)], 'b': [], 'c': []}
    assert submitted_boxes(results, FRAMES).score.tolist() == [-1.0]


def test_tracks_lose_boxes_out_of_range_get_mean_scores_and_no_gaps():
    results = {
        'a': [box(tracking_score=0.9), box(tracking_id=2, translation=[49.0, 11.0, 0.0])],
        'b': [],
        'c': [box(tracking_score=0.1), box(tracking_id=2, translation=[49.0, 0.0, 0.0])],
    }
    out = submitted_tracks(submitted_boxes(results, FRAMES), FRAMES)
    assert out.frame.tolist() == [0, 1, 2, 2]
    assert out.track.tolist() == [0, 0, 0, 1]
    assert out.score == pytest.approx([0.5] * 4)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'translation': [1.0, 2.0]}, 'sample b: translation needs 3 numbers'),
        ({'size': [1.0, float('nan'), 1.0]}, 'sample b: size is NaN'),
        ({'rotation': []}, 'sample b: rotation needs 4 numbers'),
        ({'tracking_name': 'barrier'}, r"sample b: tracking_name is none of \['bicycle'"),
        ({'tracking_score': float('nan')}, 'sample b: tracking_score is NaN'),
        ({'tracking_id': None}, 'sample b: tracking_id is missing'),
        ({'tracking_name': None}, 'sample b: tracking_name is none of'),
        ({'tracking_id': 7}, 'sample b: a tracking_id is given to two boxes'),
    ],
)
def test_bad_boxes_are_refused(change, message):
    wrong = {key: value for key, value in box(**change).items() if value is not None}
    results = {'a': [box()], 'b': [box(tracking_id=7), wrong], 'c': []}
    with pytest.raises(ValueError, match=message):
        submitted_boxes(results, FRAMES)


def test_too_many_boxes_are_refused():
    results = {'a': [box(tracking_id=i) for i in range(501)], 'b': [], 'c': []}
    with pytest.raises(ValueError, match='sample a has 501 boxes; the evaluation accepts 500'):
        submitted_boxes(results, FRAMES)
