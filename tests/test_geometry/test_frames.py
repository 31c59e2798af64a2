# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Rigid transforms and projection."""

import numpy as np
import pytest

from nexusflow.geometry.frames import (
    camera_matrix,
    heading_yaw,
    invert_rigid,
    make_rigid,
    project_points,
    rotation_from_quaternion,
    transform_points,
    wrap_angle,
)


def random_pose(rng, count):
    q = rng.normal(size=(count, 4))
    return make_rigid(rotation_from_quaternion(q), rng.normal(scale=500, size=(count, 3)))


def test_quaternions_agree_with_pyquaternion():
    from pyquaternion import Quaternion as quaternion

    for q in np.random.default_rng(0).normal(size=(20, 4)):
        expected = quaternion(q).normalised.rotation_matrix
        np.testing.assert_allclose(rotation_from_quaternion(q), expected, atol=1e-12)


def test_inverse_is_exact_also_for_mirrored_frames():
    poses = random_pose(np.random.default_rng(1), 50)
    mirrored = poses @ np.diag([-1.0, 1, 1, 1])
    for m in (poses, mirrored):
        np.testing.assert_allclose(
            invert_rigid(m) @ m, np.broadcast_to(np.eye(4), m.shape), atol=1e-9
        )
        np.testing.assert_allclose(invert_rigid(m), np.linalg.inv(m), atol=1e-9)


def test_points_go_there_and_back():
    rng = np.random.default_rng(2)
    pose = random_pose(rng, 3)
    points = rng.normal(scale=50, size=(3, 10, 3))
    there = transform_points(pose, points)
    one = pose[1] @ [*points[1, 4], 1.0]
    np.testing.assert_allclose(there[1, 4], one[:3])
    np.testing.assert_allclose(transform_points(invert_rigid(pose), there), points, atol=1e-9)


def test_heading_of_a_turned_frame():
    q = [np.cos(0.2), 0, 0, np.sin(0.2)]
    assert heading_yaw(rotation_from_quaternion(q)) == pytest.approx(0.4)
    assert wrap_angle(heading_yaw(rotation_from_quaternion(q)) + 2 * np.pi) == pytest.approx(0.4)


def test_projection_of_a_point_before_the_camera():
    lidar2cam = make_rigid([[1, 0, 0], [0, 0, -1], [0, 1, 0]], [0, 0, 0])
    lidar2img = camera_matrix([[100, 0, 80], [0, 100, 45], [0, 0, 1]], lidar2cam)
    uv, depth = project_points(lidar2img, [[2.0, 10, -1], [0, -5, 0]])
    np.testing.assert_allclose(uv[0], [80 + 20, 45 + 10])
    np.testing.assert_allclose(depth, [10, -5])
    np.testing.assert_allclose(lidar2img[3], [0, 0, 0, 1])
