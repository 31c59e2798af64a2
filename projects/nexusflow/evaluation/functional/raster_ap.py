# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Average precision of drawn map elements, after MapVR (Zhang et al., arXiv 2306.10502).

More sensitive to shape than the Chamfer distance. Each element is drawn alone, one cell thin (ped
crossings filled), and dilated by a square; predictions match the free ground truth with the largest
IoU of the drawings, by falling score, as in COCO. Sizes and thresholds are those of the authors'
toolkit (MapVectorizationEvalToolkit): 480 x 240 cells of 0.125 m, dilation 5; IoU 0.25 to 0.50 for
lines and 0.50 to 0.75 for crossings in steps of 0.05; 100 predictions per class with a score of at
least 0.05; precision at 101 steps of recall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from nexusflow.geometry.vector_map import AREA_CLASSES

from .average_precision import SampleMatches
from .chamfer_ap import MapLines
from .raster_iou import whole_px

__all__ = ['RECALL_POINTS', 'RasterAp', 'match_drawings']

RECALL_POINTS = 101


@dataclass(frozen=True)
class RasterAp:
    """How elements are drawn and compared.

    Attributes:
        size_px: Rows and columns of the canvas.
        range_m: (x_min, y_min, x_max, y_max) of the canvas.
        dilation_px: Side of the square that the drawings are dilated by.
        line_ious: T thresholds of lines.
        area_ious: T thresholds of areas.
        min_score: Predictions below are left out.
        max_predictions: Per sample and class, best scores first.
    """

    size_px: tuple[int, int] = (480, 240)
    range_m: tuple[float, float, float, float] = (-15.0, -30.0, 15.0, 30.0)
    dilation_px: int = 5
    line_ious: tuple[float, ...] = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
    area_ious: tuple[float, ...] = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75)
    min_score: float = 0.05
    max_predictions: int = 100

    def thresholds(self, classes: Sequence[str]) -> NDArray[np.float64]:
        """(C, T) smallest IoU of a true positive."""
        return np.array(
            [self.area_ious if name in AREA_CLASSES else self.line_ious for name in classes]
        )

    def draw(self, lines: Sequence[NDArray[np.floating]], filled: bool) -> csr_array:
        """Draw each element alone.

        Args:
            lines: K elements (P, 2), metres.
            filled: Whether the inside belongs to the drawing.

        Returns:
            (K, cells) sparse matrix of zeros and ones.
        """
        square = np.ones((self.dilation_px, self.dilation_px), dtype=np.uint8)
        low, high = np.array(self.range_m[:2]), np.array(self.range_m[2:])
        cells = []
        for pts in lines:
            mask = np.zeros(self.size_px, dtype=np.uint8)
            pixels = whole_px(np.rint((pts - low) / (high - low) * self.size_px[::-1]))
            if filled:
                cv2.fillPoly(mask, [pixels], 1)
            else:
                cv2.polylines(mask, [pixels], False, 1, 1)
            cells.append(np.flatnonzero(cv2.dilate(mask, square)))
        ends = np.cumsum([0, *(len(c) for c in cells)])
        columns = np.concatenate([np.zeros(0, np.int64), *cells])
        shape = (len(cells), self.size_px[0] * self.size_px[1])
        return csr_array((np.ones(len(columns), np.int32), columns, ends), shape=shape)


def match_drawings(
    pred: MapLines, true: MapLines, classes: Sequence[str], spec: RasterAp
) -> SampleMatches:
    """Match the drawings of one sample.

    Args:
        pred: Predicted lines, metres.
        true: True lines, same frame.
        classes: C class names.
        spec: How they are drawn and compared.

    Returns:
        True positives at each threshold; predictions that the limits leave out are missing.
    """
    thresholds = spec.thresholds(classes)
    scores, pred_labels = np.asarray(pred.scores, np.float64), np.asarray(pred.labels, np.int64)
    true_labels = np.asarray(true.labels, np.int64)
    kept, all_hits = [], []
    for label, name in enumerate(classes):
        mine = np.flatnonzero((pred_labels == label) & (scores >= spec.min_score))
        mine = mine[np.argsort(-scores[mine], kind='stable')][: spec.max_predictions]
        theirs = np.flatnonzero(true_labels == label)
        found = spec.draw([pred.pts_m[k] for k in mine], name in AREA_CLASSES)
        real = spec.draw([true.pts_m[k] for k in theirs], name in AREA_CLASSES)
        ious = _ious(found, real)
        all_hits.append(np.array([_greedy(ious, limit) for limit in thresholds[label]]))
        kept.append(mine)
    order = np.concatenate([np.zeros(0, np.int64), *kept])
    num_gt = np.bincount(true_labels, minlength=len(classes))
    hits = np.concatenate(all_hits, axis=1)
    return SampleMatches(pred_labels[order], scores[order], hits, num_gt)


def _ious(pred: csr_array, true: csr_array) -> NDArray[np.float64]:
    """(P, G) intersection over union of drawings."""
    both = (pred @ true.T).toarray()
    either = pred.sum(axis=1)[:, None] + true.sum(axis=1)[None] - both
    return np.asarray(both / np.maximum(either, 1))


def _greedy(ious: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """(P,) true positives: rows in order, each takes the free column with the largest IoU."""
    free = ious.copy()
    hits = np.zeros(len(ious), dtype=bool)
    for row in np.flatnonzero((ious >= threshold).any(axis=1)):
        best = int(free[row].argmax())
        hits[row] = free[row, best] >= threshold
        if hits[row]:
            free[:, best] = -1.0
    return hits
