# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
from shapely import affinity
from shapely.geometry import LineString, box

from nexusflow.world.hiding import surely_hidden
from nexusflow.world.painter import paint_order


def _rectangles(rng, count):
    """Rectangles of very different sizes that do not touch each other or the origin."""
    shapes, rows = [], []
    while len(shapes) < count:
        center, yaw = rng.uniform(-40, 40, 2), rng.uniform(-np.pi, np.pi)
        half = rng.uniform(0.3, 1.5, 2) if rng.random() < 0.6 else rng.uniform(2, 14, 2)
        shape = affinity.rotate(box(*(center - half), *(center + half)), np.rad2deg(yaw), 'center')
        if shape.buffer(0.2).contains(box(0, 0, 0.1, 0.1)) or any(
            s.distance(shape) < 0.2 for s in [*shapes, box(-1, -1, 1, 1)]
        ):
            continue
        shapes.append(shape)
        rows.append((*center, yaw, *half))
    return shapes, np.array(rows)


@pytest.mark.parametrize('seed', range(4))
def test_along_every_ray_far_boxes_come_first(seed):
    rng = np.random.default_rng(seed)
    shapes, rows = _rectangles(rng, 25)
    order = paint_order(rows[:, :2], rows[:, 2], rows[:, 3:], np.zeros(2))
    assert sorted(order) == list(range(25))
    position = np.argsort(order)
    for angle in np.linspace(0, 2 * np.pi, 180, endpoint=False):
        ray = LineString([(0, 0), (90 * np.cos(angle), 90 * np.sin(angle))])
        hits = []
        for i, shape in enumerate(shapes):
            piece = shape.intersection(ray)
            if piece.length > 1e-6:
                hits.append((np.hypot(*piece.coords[0]), position[i]))
        painted = [p for _, p in sorted(hits)]
        assert painted == sorted(painted, reverse=True)


def test_no_boxes_have_no_order():
    assert len(paint_order(np.zeros((0, 2)), np.zeros(0), np.zeros((0, 2)), np.zeros(2))) == 0


def test_hidden_is_what_lies_wholly_behind_a_building():
    # Camera frame: x right, y down, z forward; the ground is 1.5 m below the camera.
    bottom = np.array(
        [[0, 1.5, 60], [0, 1.5, 50], [34, 1.5, 60], [0, 1.5, 30], [0, 1.5, 10]], dtype=float
    )
    size = np.array([[4, 2, 2], [4, 2, 80], [4, 2, 2], [10, 20, 20], [4, 2, 2]], dtype=float)
    axes = np.tile(np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), (5, 1, 1))
    solid = np.array([False, False, False, True, False])
    one = np.zeros(5, dtype=int)
    hidden = surely_hidden(bottom, axes, size, solid, one, 0.2)
    # Behind; a tower higher than the building; beside; the building; before it.
    assert hidden.tolist() == [True, False, False, False, False]
    assert not surely_hidden(bottom, axes, size, np.zeros(5, dtype=bool), one, 0.2).any()
    apart = np.array([0, 0, 0, 1, 0])
    assert not surely_hidden(bottom, axes, size, solid, apart, 0.2).any(), 'another camera'
