# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Box conventions and the way from lidar to global and back."""

import numpy as np
import pytest

from nexusflow.geometry.boxes import (
    CORNER_EDGES,
    box_corners,
    boxes_to_global,
    boxes_to_lidar,
    velocity_to_global,
    velocity_to_lidar,
)
from nexusflow.geometry.frames import make_rigid


def tilted_pose(rng, tilt_rad):
    """A lidar in a city, its z axis off the vertical by up to ``tilt_rad`` in two directions."""
    yaw, pitch, roll = rng.uniform(-np.pi, np.pi), *rng.uniform(-tilt_rad, tilt_rad, 2)
    cos, sin = np.cos, np.sin
    z = np.array([[cos(yaw), -sin(yaw), 0], [sin(yaw), cos(yaw), 0], [0, 0, 1]])
    y = np.array([[cos(pitch), 0, sin(pitch)], [0, 1, 0], [-sin(pitch), 0, cos(pitch)]])
    x = np.array([[1, 0, 0], [0, cos(roll), -sin(roll)], [0, sin(roll), cos(roll)]])
    return make_rigid(z @ y @ x, rng.uniform(0, 2000, 3))


def random_boxes(rng, count):
    center = rng.uniform(-50, 50, (count, 3))
    size = rng.uniform(0.5, 12, (count, 3))
    return np.concatenate([center, size, rng.uniform(-np.pi, np.pi, (count, 1))], axis=1)


def test_corners_of_an_axis_aligned_box():
    corners = box_corners([[1.0, 2, 3, 4, 2, 1, 0]])[0]
    np.testing.assert_allclose(corners[0], [-1, 1, 2.5])
    np.testing.assert_allclose(corners[7], [3, 3, 3.5])
    turned = box_corners([[1.0, 2, 3, 4, 2, 1, np.pi / 2]])[0]
    np.testing.assert_allclose(turned[7], [0, 4, 3.5], atol=1e-12)
    lengths = [np.linalg.norm(corners[a] - corners[b]) for a, b in CORNER_EDGES]
    assert sorted(np.round(lengths, 9)) == [1] * 4 + [2] * 4 + [4] * 4


@pytest.mark.parametrize('tilt_rad', [0.0, 0.05])
def test_boxes_return_exactly(tilt_rad):
    rng = np.random.default_rng(3)
    for _ in range(20):
        pose, boxes = tilted_pose(rng, tilt_rad), random_boxes(rng, 10)
        back = boxes_to_lidar(boxes_to_global(boxes, pose), pose)
        np.testing.assert_allclose(back[:, :6], boxes[:, :6], atol=1e-9)
        turn = np.angle(np.exp(1j * (back[:, 6] - boxes[:, 6])))
        np.testing.assert_allclose(turn, 0, atol=1e-9)
        velocity = rng.normal(scale=10, size=(10, 2))
        np.testing.assert_allclose(
            velocity_to_lidar(velocity_to_global(velocity, pose), pose), velocity, atol=1e-9
        )


def test_one_pose_per_box_equals_one_by_one():
    rng = np.random.default_rng(4)
    poses = np.stack([tilted_pose(rng, 0.05) for _ in range(5)])
    boxes, velocity = random_boxes(rng, 5), rng.normal(size=(5, 2))
    together = boxes_to_lidar(boxes, poses), velocity_to_lidar(velocity, poses)
    for i in range(5):
        np.testing.assert_allclose(together[0][i], boxes_to_lidar(boxes[i : i + 1], poses[i])[0])
        np.testing.assert_allclose(together[1][i], velocity_to_lidar(velocity[i], poses[i]))


def test_yaw_and_velocity_of_a_car_that_drives_ahead():
    """nuScenes' lidar looks along +y: a car that heads east like the ego has yaw 90 degrees."""
    lidar2global = make_rigid([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], [10, 20, 0])
    box = boxes_to_lidar([[15.0, 20, 1, 4, 2, 1.5, 0.0]], lidar2global)[0]
    np.testing.assert_allclose(box, [0, 5, 1, 4, 2, 1.5, np.pi / 2], atol=1e-12)
    np.testing.assert_allclose(velocity_to_lidar([8.0, 0.0], lidar2global), [0, 8], atol=1e-12)


def test_unknown_velocity_stays_unknown_and_no_boxes_are_fine():
    pose = tilted_pose(np.random.default_rng(5), 0.05)
    assert np.isnan(velocity_to_lidar([[np.nan, np.nan]], pose)).all()
    assert boxes_to_lidar(np.zeros((0, 7)), pose).shape == (0, 7)
    assert boxes_to_global(np.zeros((0, 7)), np.zeros((0, 4, 4))).shape == (0, 7)
    assert box_corners(np.zeros((0, 7))).shape == (0, 8, 3)
