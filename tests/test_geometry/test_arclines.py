# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Lane paths against the devkit."""

import numpy as np
import pytest
from nuscenes.map_expansion.arcline_path_utils import discretize_lane

from nexusflow.geometry.arclines import discretise

SHAPES = ('LSL', 'LSR', 'RSL', 'RSR', 'LRL', 'RLR')


def path(rng, shape):
    return {
        'start_pose': [*rng.uniform(0, 2000, 2), rng.uniform(-np.pi, np.pi)],
        'shape': shape,
        'radius': rng.uniform(3, 900),
        'segment_length': rng.uniform(0, 15, 3).tolist(),
    }


def test_points_are_the_devkits():
    rng = np.random.default_rng(0)
    lanes = [[path(rng, shape) for _ in range(n)] for n in (1, 2, 3) for shape in SHAPES]
    lanes[3][0]['segment_length'] = [0.0, 0.01, 0.0]
    got = discretise(lanes, 0.5)
    assert len(got) == len(lanes)
    for points, lane in zip(got, lanes, strict=True):
        expected = np.array(discretize_lane(lane, 0.5))[:, :2]
        np.testing.assert_allclose(points, expected, atol=1e-6)


def test_a_quarter_turn():
    """10 m ahead, a left turn of radius 10 m, and 5 m: from the south of a corner to its west."""
    lane = {
        'start_pose': [0.0, 0.0, np.pi / 2],
        'shape': 'SLS',
        'radius': 10.0,
        'segment_length': [10.0, 5 * np.pi, 5.0],
    }
    (points,) = discretise([[lane]], 0.5)
    np.testing.assert_allclose(points[[0, -1]], [(0, 0), (-15, 20)], atol=1e-12)
    on_arc = points[(points[:, 1] > 10) & (points[:, 0] > -10)]
    np.testing.assert_allclose(np.linalg.norm(on_arc - (-10, 10), axis=1), 10)
    assert np.linalg.norm(np.diff(points, axis=0), axis=1).max() <= 0.5


def test_lanes_without_paths_and_bad_shapes():
    assert discretise([], 0.5) == []
    assert [p.shape for p in discretise([[]], 0.5)] == [(0, 2)]
    bad = path(np.random.default_rng(0), 'LXR')
    with pytest.raises(
        ValueError, match="'shape' of a path is 'LXR'; expected three of L, S and R"
    ):
        discretise([[bad]], 0.5)
