# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The rectangle around a pose."""

import numpy as np
import pytest

from nexusflow.geometry.frames import make_rigid
from nexusflow.geometry.patch import Patch


def test_frames_and_outlines():
    """A lidar at (100, 50) whose x axis looks north."""
    pose = make_rigid([[0, -1, 0], [1, 0, 0], [0, 0, 1]], [100, 50, 3])
    patch = Patch.around(pose, (-10, -20, 10, 20))
    np.testing.assert_allclose(patch.to_local(np.array([(100.0, 60.0)])), [(10, 0)], atol=1e-12)
    points = np.random.default_rng(0).uniform(-99, 99, (5, 2))
    np.testing.assert_allclose(patch.to_global(patch.to_local(points)), points, atol=1e-9)
    assert patch.footprint.bounds == pytest.approx((80, 40, 120, 60))
    assert patch.grown(-1).rectangle.bounds == (-9, -19, 9, 19)
    assert patch.grown(-1).footprint.bounds == pytest.approx((81, 41, 119, 59))


def test_tilt_does_not_matter():
    tilt = make_rigid([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]], [1, 2, 3])
    level = Patch.around(make_rigid(np.eye(3), [1, 2, 0]), (0, 0, 1, 1))
    assert Patch.around(tilt, (0, 0, 1, 1)).footprint.equals_exact(level.footprint, 1e-12)


def test_empty_range():
    with pytest.raises(ValueError, match='is empty; give'):
        Patch.around(np.eye(4), (3, 0, 3, 5))
