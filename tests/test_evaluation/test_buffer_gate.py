# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The gate's short cut against the buffers themselves."""

import numpy as np
import pytest
import shapely

from nexusflow.evaluation.functional.buffer_gate import buffers_meet
from nexusflow.geometry.polylines import resample


def meet_plainly(pred, true):
    """One pair after the other, as MapTR does it."""
    options = {'cap_style': 'flat', 'join_style': 'mitre'}
    return [
        shapely.LineString(a)
        .buffer(2.0, **options)
        .intersects(shapely.LineString(b).buffer(2.0, **options))
        for a, b in zip(pred, true, strict=True)
    ]


@pytest.mark.parametrize('num_points', [100, 200])
def test_random_neighbours(num_points):
    """Lines of 1 cm to 30 m, straight, bent and folded, moved by up to some metres."""
    rng = np.random.default_rng(num_points)
    steps = rng.normal(size=(300, 6, 2)) * 10 ** rng.uniform(-2.5, 0.7, (300, 1, 1))
    ahead = rng.normal(size=(300, 1, 2))
    straight = rng.random((300, 1, 1)) < 0.5
    walk = np.where(straight, ahead * np.abs(steps[..., :1]), steps).cumsum(axis=1)
    shift = rng.normal(size=(300, 1, 2)) * rng.uniform(0, 4, (300, 1, 1))
    along = rng.random((300, 1, 1)) < 0.3
    shift = np.where(along, ahead * rng.uniform(0, 4, (300, 1, 1)), shift)
    other = walk + shift + rng.normal(scale=0.05, size=walk.shape)
    pred, true = resample(list(walk), num_points), resample(list(other), num_points)
    expected = meet_plainly(pred, true)
    assert 30 < sum(expected) < 290
    assert buffers_meet(pred, true).tolist() == expected


def test_lines_without_length_and_no_lines():
    point, line = np.zeros((1, 100, 2)), resample([[[-5, 0.5], [5, 0.5]]], 100)
    assert not buffers_meet(point, line).any() and not buffers_meet(line, point).any()
    assert buffers_meet(line, line).tolist() == [True]
    assert buffers_meet(line[:0], line[:0]).tolist() == []
