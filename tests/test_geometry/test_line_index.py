# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Clipping many lines at once, against shapely line by line."""

import numpy as np
import pytest
import shapely

from nexusflow.geometry.frames import make_rigid
from nexusflow.geometry.line_index import LineIndex
from nexusflow.geometry.patch import Patch


def patch_at(x, y, yaw, range_m=(-10, -20, 10, 20)):
    c, s = np.cos(yaw), np.sin(yaw)
    return Patch.around(make_rigid([[c, -s, 0], [s, c, 0], [0, 0, 1]], [x, y, 0]), range_m)


def lines(*coords):
    return np.array([shapely.linestrings(c) for c in coords], dtype=object)


@pytest.fixture
def here():
    return patch_at(0, 0, 0)


def test_equals_shapely_on_random_lines():
    rng = np.random.default_rng(0)
    zigzags = [rng.uniform(-60, 60, 2) + rng.normal(0, 9, (n, 2)).cumsum(0) for n in range(2, 60)]
    index = LineIndex(lines(*zigzags))
    for _ in range(20):
        patch = patch_at(*rng.uniform(-40, 40, 2), rng.uniform(-4, 4))
        pieces = index.clip(patch)
        got = np.bincount(
            pieces.line,
            [shapely.length(shapely.linestrings(c)) for c in pieces.coords],
            len(zigzags),
        )
        local = lines(*(patch.to_local(z) for z in zigzags))
        expected = shapely.length(shapely.intersection(local, patch.rectangle))
        np.testing.assert_allclose(got, expected, atol=1e-9)
        assert (np.diff(pieces.line) >= 0).all()


def test_vertices_and_flags(here):
    index = LineIndex(lines([(0, -5), (0, 30), (4, 30), (4, 0)], [(30, 0), (40, 0)]))
    pieces = index.clip(here)
    np.testing.assert_allclose(pieces.coords[0], [(0, -5), (0, 20)])
    np.testing.assert_allclose(pieces.coords[1], [(4, 20), (4, 0)])
    assert pieces.line.tolist() == [0, 0]
    assert pieces.has_start.tolist() == [True, False]
    assert pieces.has_end.tolist() == [False, True]


def test_the_edge_belongs_to_the_patch_and_a_touch_is_nothing(here):
    along, touch = [(10, 0), (10, 5)], [(15, 0), (10, 5), (15, 10)]
    passes = [(0, 0), (10, 5), (0, 10)]
    pieces = LineIndex(lines(along, touch, passes)).clip(here)
    assert [c.tolist() for c in pieces.coords] == [[[10, 0], [10, 5]], [[0, 0], [10, 5], [0, 10]]]


def test_repeated_vertices_do_not_matter(here):
    pieces = LineIndex(lines([(0, 0), (0, 0), (5, 0), (5, 0), (30, 0)])).clip(here)
    np.testing.assert_allclose(pieces.coords, [[(0, 0), (5, 0), (10, 0)]])


def test_long_lines_are_whole(here):
    """Longer than the runs of segments that the tree holds."""
    x = np.linspace(-30, 30, 121)
    (line,) = LineIndex(lines(np.stack([x, 0 * x], axis=1))).clip(here).coords
    np.testing.assert_allclose(line[:, 0], np.linspace(-10, 10, 41))


def test_rings_go_on_over_their_start_or_not(here):
    ring = [(0, 0), (0, 5), (30, 5), (30, 0), (0, 0)]
    (line,) = LineIndex(lines(ring), join_rings=True).clip(here).coords
    assert line.tolist() == [[10, 0], [0, 0], [0, 5], [10, 5]]
    apart = LineIndex(lines(ring)).clip(here).coords
    assert [c.tolist() for c in apart] == [[[0, 0], [0, 5], [10, 5]], [[10, 0], [0, 0]]]
    small = [(0, 0), (0, 5), (5, 5), (0, 0)]
    (whole,) = LineIndex(lines(small), join_rings=True).clip(here).coords
    assert whole.tolist() == [list(p) for p in small]


def test_no_lines_at_all(here):
    assert LineIndex(np.empty(0, dtype=object), join_rings=True).clip(here).coords == []
    assert LineIndex(lines([(50, 50), (60, 60)])).clip(here).coords == []
