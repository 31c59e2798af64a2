# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Resampling against shapely."""

import numpy as np
import pytest
from shapely.geometry import LineString

from nexusflow.geometry.polylines import is_closed, line_lengths, resample


def random_lines(rng, count):
    return [
        rng.normal(scale=10, size=(rng.integers(2, 30), 2)).cumsum(axis=0) for _ in range(count)
    ]


def test_equals_shapely_interpolation():
    lines = random_lines(np.random.default_rng(0), 40)
    got = resample(lines, 20)
    assert got.shape == (40, 20, 2)
    for line, points in zip(lines, got, strict=True):
        shape = LineString(line)
        fractions = np.linspace(0, 1, 20)
        expected = [shape.interpolate(f, normalized=True).coords[0] for f in fractions]
        np.testing.assert_allclose(points, expected, atol=1e-8)


def test_ends_are_kept_bit_by_bit():
    lines = random_lines(np.random.default_rng(1), 10)
    got = resample(lines, 7)
    for line, points in zip(lines, got, strict=True):
        np.testing.assert_array_equal(points[0], line[0])
        np.testing.assert_array_equal(points[-1], line[-1])


def test_degenerate_lines():
    lines = [[[5.0, 5]], [[0, 0], [2.0, 0]], [[3, 3], [3.0, 3], [3, 3]], [[1, 1], [1, 1], [1, 3.0]]]
    got = resample(lines, 3)
    assert got[0].tolist() == [[5, 5]] * 3
    assert got[1].tolist() == [[0, 0], [1, 0], [2, 0]]
    assert got[2].tolist() == [[3, 3]] * 3
    assert got[3].tolist() == [[1, 1], [1, 2], [1, 3]]
    assert resample([], 20).shape == (0, 20, 2)


def test_bad_arguments():
    with pytest.raises(ValueError, match='num_points: a polyline needs at least 2 points, got 1'):
        resample([[[0, 0], [1, 1]]], 1)
    with pytest.raises(ValueError, match='line 1 of 2 is empty; drop it first'):
        resample([[[0, 0], [1, 1]], np.zeros((0, 2))], 5)


def test_rings_and_lengths():
    ring = [[0, 0], [2, 0], [2, 2], [0, 0]]
    assert is_closed([ring, ring[:3], [[0, 0], [1, 1], [0, 0]]]).tolist() == [True, False, False]
    np.testing.assert_allclose(line_lengths([ring, [[0, 0], [3, 4]]]), [4 + 8**0.5, 5])
    assert is_closed([]).shape == line_lengths([]).shape == (0,)
