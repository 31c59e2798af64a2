# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""IoU of drawn lines, counted by hand on small canvases."""

import numpy as np
import pytest

from nexusflow.evaluation.functional.chamfer_ap import MapLines
from nexusflow.evaluation.functional.raster_iou import (
    RasterIou,
    iou_counts,
    longest_edges,
    pool_iou,
)

CLASSES = ['divider', 'ped_crossing', 'boundary']
CANVAS = RasterIou(size_px=40, side_m=40.0, thickness_px=1, erase_px=2)
"""Cells of 1 m; x = -20 is column 0."""


def lines(*elements, score=1.0):
    """Of (label, points)."""
    pts = [np.array(points, dtype=float) for _, points in elements]
    labels = np.array([label for label, _ in elements], dtype=int)
    return MapLines(pts, labels, np.full(len(pts), score))


def test_a_line_is_where_it_should_be():
    mask = CANVAS.draw(lines((0, [[-9.5, 3.5], [4.5, 3.5]])), CLASSES)[0]
    rows, columns = np.nonzero(mask)
    assert set(rows) == {23}
    assert (columns.min(), columns.max()) == (10, 24)


def test_counts_by_hand():
    """Truth: 15 cells; prediction: the last 5 of them and 10 more."""
    true = lines((0, [[-9.5, 3.5], [4.5, 3.5]]))
    pred = lines((0, [[0.5, 3.5], [14.5, 3.5]]))
    counts = iou_counts(pred, true, CLASSES, CANVAS)
    assert counts.tolist() == [[5, 25], [5, 25], [0, 0], [0, 0]]
    scores = pool_iou([counts, iou_counts(true, true, CLASSES, CANVAS)])
    assert scores['IoU_divider'] == scores['IoU_lanes'] == 20 / 40  # sums before the division
    assert np.isnan(scores['IoU_crossing']) and np.isnan(scores['IoU_contour'])


def test_lanes_do_not_ask_for_the_class():
    true, pred = (lines((label, [[-9.5, 3.5], [4.5, 3.5]])) for label in (0, 2))
    scores = pool_iou([iou_counts(pred, true, CLASSES, CANVAS)])
    assert (scores['IoU_lanes'], scores['IoU_divider'], scores['IoU_contour']) == (1.0, 0.0, 0.0)


def test_later_classes_erase_earlier_ones_around_them():
    divider, boundary = (0, [[-9.5, 0.5], [9.5, 0.5]]), (2, [[0.5, -9.5], [0.5, 9.5]])
    masks = CANVAS.draw(lines(divider, boundary), CLASSES)
    assert masks[2].sum() == 20
    gone = 20 - masks[0].sum()  # around column 20, as broad as a line of thickness 3
    assert gone in (3, 5)
    assert not masks[0, :, 20 - gone // 2 : 21 + gone // 2].any()


def test_crossing_is_its_two_longest_edges():
    ring = [[-5.5, 0.5], [-5.5, -2.5], [5.5, -2.5], [5.5, 0.5], [-5.5, 0.5]]
    mask = CANVAS.draw(lines((1, ring)), CLASSES)[1]
    rows, columns = np.nonzero(mask)
    assert set(rows) == {17, 20}
    assert mask.sum() == 2 * 12 and (columns.min(), columns.max()) == (14, 25)


def test_edges_do_not_depend_on_vertices_or_start():
    corners = np.array([[0.0, 0], [12, 0], [12, 3], [0, 3], [0, 0]])
    along = np.linspace(0, 1, 8)[:, None]
    many = np.concatenate(
        [a + along * (b - a) for a, b in zip(corners[:-1], corners[1:], strict=True)]
    )
    turned = np.concatenate([many[3:], many[1:4]])
    assert np.array_equal(turned[0], turned[-1])
    almost = np.concatenate([many[3:], many[1:3], many[3:4] + 0.3])
    for ring in (corners, many, turned, turned[::-1], almost):
        edges = longest_edges(ring, 0.5)
        found = sorted(sorted(map(tuple, edge.round(9).tolist())) for edge in edges)
        assert found == [[(0, 0), (12, 0)], [(0, 3), (12, 3)]]
    open_line = np.array([[0.0, 0], [5, 0], [5, 5]])
    assert np.array_equal(longest_edges(open_line, 0.5)[0], open_line)


def test_a_line_that_leads_far_away_leads_there():
    for end in (1e3, 1e8, 1e12):
        rows, columns = np.nonzero(CANVAS.draw(lines((0, [[0.0, 0.0], [end, 0.0]])), CLASSES)[0])
        assert columns.min() >= 19 and columns.max() == CANVAS.size_px - 1 and len(rows) > 19


def test_centrelines_are_not_drawn():
    names = ['centerline', 'boundary']
    both = lines((0, [[-9.5, 3.5], [4.5, 3.5]]), (1, [[0.5, -9.5], [0.5, 9.5]]))
    masks = CANVAS.draw(both, names)
    assert masks.sum(axis=(1, 2)).tolist() == [0, 0, 20]


def test_weak_predictions_are_not_drawn():
    true = lines((0, [[-9.5, 3.5], [4.5, 3.5]]))
    weak = lines((0, [[-9.5, 3.5], [4.5, 3.5]]), score=0.09)
    assert iou_counts(weak, true, CLASSES, CANVAS)[0].tolist() == [0, 15]
    assert iou_counts(true, lines(), CLASSES, CANVAS)[0].tolist() == [0, 15]


def test_uniads_canvas():
    spec = RasterIou()
    assert (spec.size_px, spec.side_m, spec.thickness_px) == (200, 102.4, 2)
    assert spec.cell_m == pytest.approx(0.512)
    mask = spec.draw(lines((0, [[-15, 0.1], [15, 0.1]])), CLASSES)[0]
    assert set(mask.sum(axis=0)[75:125]) == {3}  # what OpenCV takes for a thickness of 2
    outside = lines((0, [[-90.0, -90], [-80, -80]]))
    assert not spec.draw(outside, CLASSES).any()
