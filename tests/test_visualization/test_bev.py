# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Views from above: what is drawn is where geometry says."""

from __future__ import annotations

import numpy as np
import pytest

from nexusflow.visualization.bev import TITLE_HEIGHT, BevView, bev_panels, draw_bev, footprints
from nexusflow.visualization.canvas import MAP_COLORS, id_color
from nexusflow.visualization.content import SampleContent

VIEW = BevView(range_m=(-20.0, -30.0, 20.0, 30.0), pixels_per_m=8.0)


def pixel(image, x, y, view=VIEW):
    """Colour of the pixel that holds a point."""
    u, v = np.round(view.to_pixels(np.array([x, y]))).astype(int)
    return tuple(int(c) for c in image[v, u])


def test_size_and_pixels():
    assert VIEW.size == (320, 480)
    assert draw_bev(SampleContent(), VIEW).shape == (480, 320, 3)
    # the top left corner of the range is the corner of the first pixel, half a pixel before its centre
    assert VIEW.to_pixels(np.array([-20.0, 30.0])).tolist() == [-0.5, -0.5]
    assert VIEW.to_pixels(np.array([-20.0 + 1 / 16, 30.0 - 1 / 16])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize('name', list(MAP_COLORS))
def test_map_line_has_its_colour_at_its_place_and_not_beside(name):
    line = np.array([[-12.0, -25.0], [-4.0, 15.0]])
    image = draw_bev(SampleContent(lines=[line], line_names=[name]), VIEW)
    for part in (0.1, 0.5, 0.9):
        x, y = line[0] + part * (line[1] - line[0])
        assert pixel(image, x, y) == MAP_COLORS[name]
        assert pixel(image, x + 1.0, y) != MAP_COLORS[name]
    assert pixel(image, -2.0, 23.0) == (255, 255, 255)  # beyond its end


def test_crossing_is_tinted_inside():
    ring = np.array([[-5, 10], [5, 10], [5, 14], [-5, 14], [-5, 10]], dtype=float)
    inside = pixel(draw_bev(SampleContent([ring], ['ped_crossing']), VIEW), 2.5, 12.5)
    assert inside[2] > inside[0]
    opened = pixel(draw_bev(SampleContent([ring[:3]], ['ped_crossing']), VIEW), 2.5, 12.5)
    assert opened == (255, 255, 255)


def test_box_outline_and_heading():
    """A car 10 m ahead that points left (yaw 180 degrees): its nose line lies at smaller x."""
    box = np.array([[3.0, 10.5, 0, 4.0, 2.0, 1.5, np.pi]])
    image = draw_bev(SampleContent(boxes=box, ids=[5]), VIEW)
    color = id_color(5)
    assert pixel(image, 1.0, 11.2) == color  # front edge
    assert pixel(image, 5.0, 9.8) == color  # back edge
    assert pixel(image, 0.6, 10.5) == color  # nose beyond the front
    assert pixel(image, 5.4, 10.5) == (255, 255, 255)  # nothing behind the back
    fill = pixel(image, 4.0, 10.5)
    assert fill not in (color, (255, 255, 255))


def test_footprint_corners_by_hand():
    corners = footprints(np.array([[1.0, 2.0, 0, 4.0, 2.0, 1, np.pi / 2]]))[0]
    assert np.allclose(corners, [[0, 4], [2, 4], [2, 0], [0, 0]])
    assert footprints(np.zeros((0, 7))).shape == (0, 4, 2)


def test_trail_leads_to_the_box():
    box = np.array([[8.0, 5.5, 0, 4.0, 2.0, 1.5, 0.0]])
    trail = np.array([[-8.0, 5.5], [8.0, 5.5]])
    image = draw_bev(SampleContent(boxes=box, ids=[3], trails={3: trail}), VIEW)
    assert pixel(image, -6.0, 5.5) == id_color(3)


def test_things_out_of_range_do_not_disturb():
    far = SampleContent(
        lines=[np.array([[1e6, 1e6], [2e6, 1e6]])],
        line_names=['divider'],
        boxes=np.array([[1e5, 0, 0, 4, 2, 1, 0.0]]),
        ids=[1],
    )
    assert np.array_equal(draw_bev(far, VIEW), draw_bev(SampleContent(), VIEW))


def test_panels_stand_side_by_side():
    line = SampleContent([np.array([[-12.0, -20.0], [-12.0, 20.0]])], ['divider'])
    sheet = bev_panels([('ground truth', line), ('prediction', SampleContent())], VIEW)
    assert sheet.shape == (480 + TITLE_HEIGHT, 2 * 320 + 8, 3)
    left, right = sheet[TITLE_HEIGHT:, :320], sheet[TITLE_HEIGHT:, 328:]
    assert np.array_equal(left, draw_bev(line, VIEW))
    assert np.array_equal(right, draw_bev(SampleContent(), VIEW))
    assert (sheet[:TITLE_HEIGHT] < 128).any()
