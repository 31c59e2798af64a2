# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
from shapely.geometry import MultiPoint, Polygon
from shapely.ops import unary_union

from nexusflow.world.shadows import Darkener, shadow_quads
from nexusflow.world.view import CanvasFaces


@pytest.mark.parametrize('azimuth', np.linspace(0.1, 6.2, 9))
def test_two_quads_make_the_hull_of_the_footprint_and_its_tip(azimuth):
    sun = np.array([0.6 * np.cos(azimuth), 0.6 * np.sin(azimuth), 0.8])
    size, yaw, place = np.array([[4.0, 2.0, 1.5]]), np.array([0.7]), np.array([[30.0, -8.0, 0.0]])
    quads = shadow_quads(place, yaw, size, sun)
    assert quads.shape == (2, 4, 3) and not quads[..., 2].any()
    parts = [Polygon(quad[:, :2]) for quad in quads]
    assert all(part.is_valid for part in parts)
    x, y = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]).T * (size[0, :2, None] * 0.48 + 0.03)
    base = np.column_stack(
        [np.cos(0.7) * x - np.sin(0.7) * y, np.sin(0.7) * x + np.cos(0.7) * y]
    ) + (30.0, -8.0)
    tip = base - 0.85 * 1.5 * sun[:2] / sun[2]
    hull = MultiPoint([*base, *tip]).convex_hull
    assert unary_union(parts).symmetric_difference(hull).area < 1e-6


def test_ground_in_shadow_is_darker_and_nothing_else_changes():
    canvas = np.full((20, 30, 4), 200, np.uint8)
    canvas[..., 3] = 255
    square = np.array([[4, 2], [12, 2], [12, 15], [4, 15]], np.int32) << 4
    faces = CanvasFaces(np.zeros(1, np.int64), [square], np.array([[4, 2, 14, 17]]))
    darkener = Darkener((20, 30), 0.5)
    for _ in range(2):
        picture = canvas.copy()
        darkener.darken(picture, 6, faces)
        expected = canvas.copy()
        expected[6:16, 4:13, :3] = 100
        np.testing.assert_array_equal(picture, expected)
    darkener.darken(canvas, 6, CanvasFaces(np.zeros(0, np.int64), [], np.zeros((0, 4), np.int64)))
    assert (canvas[..., :3] == 200).all()
