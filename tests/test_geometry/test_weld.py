# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Shapes that touch but for rounding."""

import numpy as np
import shapely
from shapely.geometry import Polygon, box

from nexusflow.geometry.weld import weld


def array(*shapes):
    out = np.empty(len(shapes), dtype=object)
    out[:] = shapes
    return out


def test_a_vertex_beside_an_edge_becomes_part_of_it():
    left = box(0, 0, 10, 10)
    right = Polygon([(10 + 1e-12, 2), (20, 2), (20, 8), (10 + 1e-12, 8)])
    assert not shapely.touches(left, right) and shapely.distance(left, right) > 0
    welded = weld(array(left, right))
    assert shapely.get_num_coordinates(welded).tolist() == [7, 5]
    union = shapely.union_all(welded)
    assert union.geom_type == 'Polygon' and len(union.interiors) == 0
    np.testing.assert_allclose([union.area, union.length], [160, 60])


def test_vertices_that_are_almost_the_same_become_one():
    a = Polygon([(0, 0), (1, 0), (1, 1)])
    b = Polygon([(0, 0), (1 + 2e-12, 1 - 1e-12), (0, 1)])
    union = shapely.union_all(weld(array(a, b)))
    assert union.geom_type == 'Polygon'
    assert union.length == 4.0


def test_what_is_apart_or_touches_exactly_stays_as_it_is():
    shapes = array(box(0, 0, 1, 1), box(1, 0, 2, 1), box(2.001, 0, 3, 1))
    assert all(a is b for a, b in zip(weld(shapes), shapes, strict=True))
    assert len(weld(array())) == 0
