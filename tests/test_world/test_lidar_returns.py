# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import numpy as np

from nexusflow.world.lidar_returns import expected_lidar_points

_SIGNS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


def _box(x, y, size=(4.5, 1.9, 1.6)):
    return _SIGNS * size + (x, y, size[2] / 2 - 1.84)


def test_near_boxes_give_more_points_and_hidden_ones_none():
    boxes = np.stack([_box(8, 0), _box(16, 0), _box(60, 0), _box(8, 0)])
    points = expected_lidar_points(boxes, np.array([1.0, 1.0, 1.0, 0.0]))
    assert points[0] > 3 * points[1] > 9 * points[2] > 0
    assert points[3] == 0


def test_points_are_proportional_to_what_is_visible():
    boxes = np.stack([_box(6, 2)] * 2)
    whole, half = expected_lidar_points(boxes, np.array([1.0, 0.5]))
    assert abs(whole - 2 * half) <= 1


def test_direction_does_not_matter():
    around = np.stack([_box(12, 0, (2, 2, 1.6)), _box(-12, 0, (2, 2, 1.6))])
    ahead, behind = expected_lidar_points(around, np.ones(2))
    assert ahead == behind > 0


def test_no_boxes():
    assert expected_lidar_points(np.zeros((0, 8, 3)), np.zeros(0)).shape == (0,)
