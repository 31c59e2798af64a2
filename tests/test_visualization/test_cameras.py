# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Projection into cameras: right pixels, also for what reaches behind the camera."""

from __future__ import annotations

import numpy as np
import pytest

from nexusflow.visualization.cameras import (
    camera_mosaic,
    cell_width,
    draw_on_camera,
    project_segments,
    resized,
)
from nexusflow.visualization.canvas import MAP_COLORS, id_color
from nexusflow.visualization.content import SampleContent

W, H, F = 320, 180, 200.0
# looks along lidar y (forward): u grows with x (right), v grows downwards with -z
LIDAR2IMG = np.array([[F, W / 2, 0, 0], [0, H / 2, -F, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])


def gray(h=H, w=W):
    return np.full((h, w, 3), 128, dtype=np.uint8)


def project(x, y, z):
    return np.array([F * x / y + W / 2, -F * z / y + H / 2])


def close(color, other):
    """Whether colours agree up to the smoothing of thin lines."""
    return np.abs(np.array(color) - np.array(other)).max() < 40


def at(image, point):
    u, v = np.round(point).astype(int)
    return tuple(int(c) for c in image[v, u])


def test_segment_in_front_by_hand():
    (segment,) = project_segments(np.array([[[1.0, 10, -1], [2.0, 20, 1]]]), LIDAR2IMG)
    assert np.allclose(segment, [project(1, 10, -1), project(2, 20, 1)])


def test_segment_through_the_camera_plane_is_cut_there():
    """From 10 m ahead to 10 m behind: cut at depth 0.5 m, where x is 1 + 9.5 / 20 * 2."""
    (segment,) = project_segments(np.array([[[1.0, 10, -1], [3.0, -10, -1]]]), LIDAR2IMG)
    assert np.allclose(segment[0], project(1, 10, -1))
    assert np.allclose(segment[1], project(1.95, 0.5, -1))
    assert len(project_segments(np.array([[[0.0, -1, 0], [0, 0.4, 0]]]), LIDAR2IMG)) == 0
    assert project_segments(np.zeros((0, 2, 3)), LIDAR2IMG).shape == (0, 2, 2)


def test_box_edges_are_drawn_where_they_project():
    box = np.array([[0.0, 12.0, 0.0, 4.0, 2.0, 1.6, np.pi / 2]])  # spans x +-1, y 10..14, z +-.8
    image = gray()
    out = draw_on_camera(image, LIDAR2IMG, SampleContent(boxes=box, ids=[4]))
    assert (image == 128).all()
    for corner in ((1, 10, 0.4), (-1, 10, -0.4), (0.5, 10, -0.8), (1, 12, 0.8)):
        assert close(at(out, project(*corner)), id_color(4))
    assert at(out, project(3, 10, 0)) == (128, 128, 128)


def test_map_line_lies_on_the_ground():
    line = np.array([[-2.0, -10.0], [-2.0, 30.0]])  # starts behind the camera
    content = SampleContent([line], ['boundary'])
    out = draw_on_camera(gray(), LIDAR2IMG, content, ground_z_m=-1.5)
    for y in (6.0, 15.0):
        assert close(at(out, project(-2, y, -1.5)), MAP_COLORS['boundary'])
        assert at(out, project(-2, y, -0.8)) == (128, 128, 128)


def test_box_around_the_camera_draws_no_nonsense():
    box = np.array([[0.0, 0.0, 0.0, 4.0, 2.0, 1.6, np.pi / 2], [0, -20, 0, 4, 2, 1.6, 0.0]])
    out = draw_on_camera(gray(), LIDAR2IMG, SampleContent(boxes=box, ids=[4, 5]))
    alone = draw_on_camera(gray(), LIDAR2IMG, SampleContent(boxes=box[:1], ids=[4]))
    assert np.array_equal(out, alone)  # the other one is wholly behind
    # what is drawn is its front face, 2 m ahead: 2 m wide and 1.6 m high, and edges outside of it
    rows, columns = np.nonzero((out != 128).any(axis=-1))
    low, high = project(-1, 2, 0.8), project(1, 2, -0.8)
    inside = (columns > low[0] + 2) & (columns < high[0] - 2)
    inside &= (rows > low[1] + 2) & (rows < high[1] - 2)
    assert inside.sum() == pytest.approx((high - low - 4).prod(), rel=0.05)
    assert at(out, (5, H / 2)) == (128, 128, 128)


def test_resized_projection_keeps_pixel_centres():
    image, changed = resized(gray(), LIDAR2IMG, W // 4)
    assert image.shape == (H // 4, W // 4, 3)
    point = np.array([1.3, 9.0, -0.7, 1.0])
    old, new = LIDAR2IMG @ point, changed @ point
    old, new = old[:2] / old[2], new[:2] / new[2]
    assert np.allclose((old + 0.5) / 4 - 0.5, new)


def test_mosaic_places_cameras_as_seen_from_the_vehicle():
    names = ['CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_FRONT_LEFT', 'CAM_BACK', 'CAM_BACK_LEFT']
    images = {name: np.full((H, W, 3), 20 * i, np.uint8) for i, name in enumerate(names, 1)}
    width = 3 * W + 8
    assert cell_width(width) == W
    sheet = camera_mosaic(images, width)
    assert sheet.shape == (2 * H + 4, width, 3)
    middles = [(H // 2 + r * (H + 4), W // 2 + c * (W + 4)) for r in range(2) for c in range(3)]
    assert [int(sheet[v, u, 0]) for v, u in middles] == [60, 20, 40, 100, 80, 255]


def test_mosaic_of_other_rigs():
    images = {f'ring_{i}': gray() for i in range(4)}
    assert camera_mosaic(images, 968).shape == (2 * H + 4, 968, 3)
