# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Mean scores and interpolation of tracks, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nexusflow.evaluation.functional.box_columns import BoxColumns, interpolate, mean_track_scores


def columns(rows):
    """From (frame, track, label, x, score)."""
    frame, track, label, x, score = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    center = np.stack([x, 0 * x, 0 * x], axis=1)
    return BoxColumns(frame.astype(int), track.astype(int), label.astype(int), center, score)


def test_gaps_are_filled_with_the_official_wrong_weights():
    """A quarter of the way in time: the devkit takes three quarters of the later box."""
    time_us = np.array([0, 100, 300, 400])
    out = interpolate(columns([(0, 7, 0, 0.0, 0.5), (3, 7, 1, 8.0, 0.5)]), time_us)
    assert out.frame.tolist() == [0, 1, 2, 3]
    assert out.center[:, 0].tolist() == [0.0, 6.0, 2.0, 8.0]
    assert out.label.tolist() == [0, 1, 1, 1]  # the class of the later box
    assert out.score == pytest.approx([0.5] * 4)


def test_new_boxes_follow_the_others_in_the_order_of_their_tracks():
    rows = [(0, 5, 0, 0.0, 1), (0, 2, 0, 1.0, 1), (1, 9, 0, 5.0, 1)]
    rows += [(2, 2, 0, 1.0, 1), (2, 5, 0, 0.0, 1)]
    out = interpolate(columns(rows), np.arange(3) * 500)
    assert out.track.tolist() == [5, 2, 9, 5, 2, 2, 5]
    assert out.frame.tolist() == [0, 0, 1, 1, 1, 2, 2]


def test_tracks_have_one_score():
    out = mean_track_scores(columns([(0, 1, 0, 0, 0.2), (0, 2, 0, 0, 0.7), (4, 1, 0, 0, 0.6)]))
    assert out.score == pytest.approx([0.4, 0.7, 0.4])


def test_nothing_stays_nothing():
    nothing = columns([])
    assert len(interpolate(mean_track_scores(nothing), np.arange(3))) == 0
