# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Rasterised AP, with IoUs counted by hand."""

import numpy as np
import pytest

from nexusflow.evaluation.functional.average_precision import score_matches
from nexusflow.evaluation.functional.chamfer_ap import MapLines
from nexusflow.evaluation.functional.raster_ap import RECALL_POINTS, RasterAp, match_drawings

CLASSES = ['divider', 'ped_crossing', 'boundary']
SPEC = RasterAp()
CELL_M = 0.125


def lines(*elements, scores=None):
    """Of (label, points)."""
    pts = [np.array(points, dtype=float) for _, points in elements]
    labels = np.array([label for label, _ in elements], dtype=int)
    return MapLines(pts, labels, np.ones(len(pts)) if scores is None else np.array(scores))


def along_y(x_cells):
    return [[x_cells * CELL_M, -8.0], [x_cells * CELL_M, 8.0]]


def test_drawing_is_dilated():
    """A line of 128 steps has 129 cells; dilated by 5 cells it is 133 x 5."""
    drawing = SPEC.draw([np.array(along_y(0))], filled=False)
    assert drawing.sum() == 133 * 5
    square = np.array([[0.0, 0], [2, 0], [2, 2], [0, 2], [0, 0]])  # 17 x 17 cells filled
    assert SPEC.draw([square], filled=True).sum() == 21 * 21
    assert SPEC.draw([], filled=True).shape == (0, 480 * 240)


@pytest.mark.parametrize(('shift', 'iou'), [(1, 4 / 6), (2, 3 / 7), (3, 2 / 8), (4, 1 / 9)])
def test_shifted_line_hits_the_thresholds_up_to_its_iou(shift, iou):
    """Of 5 columns 5 - shift are common."""
    matches = match_drawings(lines((0, along_y(shift))), lines((0, along_y(0))), CLASSES, SPEC)
    assert matches.hits[:, 0].tolist() == [limit <= iou for limit in SPEC.line_ious]


def test_crossings_have_stricter_thresholds_and_are_filled():
    ring = np.array([[0.0, 0], [4, 0], [4, 8], [0, 8], [0, 0]])
    step = 0.5 * np.array([1.0, 0])  # 4 of 37 + 4 columns
    matches = match_drawings(lines((1, ring + step)), lines((1, ring)), CLASSES, SPEC)
    assert matches.hits[:, 0].all()
    matches = match_drawings(lines((1, ring + 3 * step)), lines((1, ring)), CLASSES, SPEC)
    iou = (37 - 12) / (37 + 12)  # 0.51
    assert matches.hits[:, 0].tolist() == [limit <= iou for limit in SPEC.area_ious]


def test_second_choice_is_allowed_as_in_coco():
    """Both predictions are nearest to the first truth; the weaker one takes the second truth."""
    true = lines((0, along_y(0)), (0, along_y(3)))
    pred = lines((0, along_y(0)), (0, along_y(1)), scores=[0.9, 0.8])
    matches = match_drawings(pred, true, CLASSES, SPEC)
    assert matches.hits[0].tolist() == [True, True]
    assert matches.num_gt.tolist() == [2, 0, 0]


def test_limits_leave_predictions_out():
    true = lines((0, along_y(0)))
    pred = lines(*[(0, along_y(40))] * 3, (0, along_y(0)), scores=[0.9, 0.8, 0.7, 0.04])
    assert match_drawings(pred, true, CLASSES, SPEC).scores.tolist() == [0.9, 0.8, 0.7]
    few = RasterAp(max_predictions=2)
    assert match_drawings(pred, true, CLASSES, few).scores.tolist() == [0.9, 0.8]


def test_average_over_the_set():
    """One of two truths found: the envelope is 1 at the 51 recall steps up to a half."""
    true, pred = lines((0, along_y(0)), (0, along_y(50))), lines((0, along_y(0)))
    matches = {'a': match_drawings(pred, true, CLASSES, SPEC)}
    table = score_matches(matches, CLASSES, SPEC.thresholds(CLASSES), RECALL_POINTS)
    assert table.per_class[0] == pytest.approx(51 / 101)
    assert np.isnan(table.per_class[1:]).all()
    empty = {'a': match_drawings(lines(), true, CLASSES, SPEC)}
    assert score_matches(empty, CLASSES, SPEC.thresholds(CLASSES), RECALL_POINTS).ap[0].max() == 0
