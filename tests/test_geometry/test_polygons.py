# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Repair, joining and outlines."""

import numpy as np
import pytest
import shapely
from shapely import affinity
from shapely.geometry import Polygon, box

from nexusflow.geometry.polygons import join_parallel, outlines, repair, union


def array(*shapes):
    out = np.empty(len(shapes), dtype=object)
    out[:] = shapes
    return out


def test_repair_keeps_every_piece_with_an_area():
    bow_tie = Polygon([(0, 0), (4, 4), (4, 0), (0, 4)])
    tailed = Polygon([(10, 0), (12, 0), (12, 2), (12, 5), (12, 2), (10, 2)])
    flat = Polygon([(0, 0), (1, 1), (2, 2)])
    valid, repaired, lost = repair(array(bow_tie, tailed, flat, box(20, 0, 21, 1)))
    assert (repaired, lost) == (2, 1)
    assert shapely.area(valid) == pytest.approx([4, 4, 4, 1])
    assert shapely.is_valid(valid).all()


def test_union_and_outlines():
    parts = union(array(box(0, 0, 5, 5), box(4, 0, 9, 5), box(20, 0, 21, 1)))
    assert sorted(shapely.area(parts)) == pytest.approx([1, 45])
    pierced = Polygon(box(0, 0, 9, 9).exterior, [box(2, 2, 3, 3).exterior])
    for shape in (pierced, pierced.reverse()):
        rings = outlines(array(shape))
        assert shapely.is_ccw(rings).tolist() == [False, True]
        assert shapely.length(rings).tolist() == [36, 4]
    assert len(union(array())) == len(outlines(array())) == 0


@pytest.mark.parametrize(('angle', 'groups'), [(0, 1), (7.5, 1), (8.5, 2), (90, 2), (172.5, 1)])
def test_joined_up_to_eight_degrees(angle, groups):
    other = affinity.rotate(box(-5, 0, 5, 3), angle, origin=(0, 0))
    assert len(join_parallel(array(box(-5, 0, 5, 3), other))) == groups


def test_joined_over_neighbours_and_independent_of_the_order():
    chain = [box(3 * k, 0, 3 * k + 3, 1) for k in range(6)]
    for order in np.random.default_rng(0).permuted(np.tile(np.arange(6), (5, 1)), axis=1):
        (joined,) = join_parallel(array(*(chain[k] for k in order)))
        assert joined.bounds == (0, 0, 18, 1)
    assert len(join_parallel(array())) == 0
    assert len(join_parallel(array(*chain[::2]))) == 3
