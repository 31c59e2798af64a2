# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
r"""True positives of vector maps under the Chamfer distance.

The metric of MapTR (Liao et al., arXiv 2208.14437;
``MapTR/projects/mmdet3d_plugin/datasets/map_utils``), reimplemented:

1. Predicted and true lines are resampled to ``n`` points, uniformly by arc length.
2. Distance of a prediction P and a ground truth G of the same class and sample, undirected, in
   metres:

   .. math:: CD(P, G) = \tfrac12 \Big(\operatorname{mean}_{p \in P} \min_{g \in G} \|p - g\|
             + \operatorname{mean}_{g \in G} \min_{p \in P} \|p - g\|\Big)

3. Every prediction belongs to its **nearest** ground truth. By falling score it is a true positive
   when CD <= t and that ground truth is free; otherwise a false positive, with no second choice.
4. Over all samples, sorted by score: area under the monotone envelope of precision over recall
   (``average_precision.py``).
5. AP of a class = mean over the thresholds t = 0.5, 1.0, 1.5 m; mAP = mean over the classes.

Modes: ``'maptr'``, 100 points, and pairs whose 2 m buffers do not meet do not match
(``buffer_gate.py``); ``'streammapnet'`` (Yuan et al., arXiv 2308.12570), 200 points and no gate.

Here, unlike there: one distance matrix serves all thresholds, samples are aligned by token and not
by place in a list, ties in score have a fixed order, and a class without any ground truth is NaN
and left out of the mean instead of counting zero. Pairs that cannot be within the largest threshold
are not computed, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from nexusflow.geometry.polylines import resample

from .average_precision import SampleMatches
from .buffer_gate import buffers_meet

__all__ = [
    'MODES',
    'ChamferMode',
    'MapLines',
    'chamfer_distances',
    'line_distances',
    'match_lines',
    'match_sample',
]

_ROUNDING_M = 1e-9


@dataclass(frozen=True)
class ChamferMode:
    """How lines are compared.

    Attributes:
        num_points: Points per line.
        thresholds_m: Largest Chamfer distance of a true positive, ascending, metres.
        buffer_gate: Whether pairs whose buffers of 2 m do not meet count as infinitely far (as in
            MapTR).
    """

    num_points: int = 100
    thresholds_m: tuple[float, ...] = (0.5, 1.0, 1.5)
    buffer_gate: bool = False


MODES: dict[str, ChamferMode] = {
    'maptr': ChamferMode(buffer_gate=True),
    'streammapnet': ChamferMode(num_points=200),
}


@dataclass(frozen=True)
class MapLines:
    """The map elements of one sample, in metres; all samples in the same frame.

    Attributes:
        pts_m: K polylines, each (P, 2); a closed ring repeats its first point.
        labels: (K,) class indices.
        scores: (K,) confidence; not read for ground truth.
    """

    pts_m: Sequence[NDArray[np.floating]]
    labels: NDArray[np.integer]
    scores: NDArray[np.floating]


def chamfer_distances(pred: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chamfer distance of each prediction to the ground truth at the same place.

    Args:
        pred: (K, n, 2) metres.
        true: (K, n, 2) metres, same frame.

    Returns:
        (K,) metres.
    """
    num, n = pred.shape[:2]
    there, back, square = np.empty((num, n)), np.empty((num, n)), np.empty((n, n))
    for k in range(num):
        cdist(pred[k], true[k], 'sqeuclidean', out=square)
        square.min(axis=1, out=there[k])
        square.min(axis=0, out=back[k])
    return np.asarray(0.5 * (np.sqrt(there).mean(axis=1) + np.sqrt(back).mean(axis=1)))


def line_distances(pred: MapLines, true: MapLines, mode: ChamferMode) -> NDArray[np.float64]:
    """Distances that decide which predictions of a sample are true positives.

    Args:
        pred: Predicted lines.
        true: True lines, same frame.
        mode: How lines are compared.

    Returns:
        (P, G) metres; infinite for pairs of different classes, for pairs whose bounding boxes tell
        that they are farther apart than the largest threshold, and for pairs that the gate of the
        mode excludes.
    """
    reach = max(mode.thresholds_m)
    out = np.full((len(pred.pts_m), len(true.pts_m)), np.inf)
    rows, cols = np.nonzero(_may_match(pred, true, reach))
    if not len(rows):
        return out
    used, i = np.unique(rows, return_inverse=True)
    pred_pts = resample([pred.pts_m[k] for k in used], mode.num_points)
    used, j = np.unique(cols, return_inverse=True)
    true_pts = resample([true.pts_m[k] for k in used], mode.num_points)
    bound = 0.5 * (
        _box_distances(pred_pts, true_pts, i, j) + _box_distances(true_pts, pred_pts, j, i)
    )
    near = bound <= reach + _ROUNDING_M
    pred_pts, true_pts = pred_pts[i[near]], true_pts[j[near]]
    distances = chamfer_distances(pred_pts, true_pts)
    if mode.buffer_gate:
        close = np.flatnonzero(distances <= reach)
        distances[close[~buffers_meet(pred_pts[close], true_pts[close])]] = np.inf
    out[rows[near], cols[near]] = distances
    return out


def _may_match(pred: MapLines, true: MapLines, reach_m: float) -> NDArray[np.bool_]:
    """(P, G) pairs of one class whose bounding boxes are not farther apart than the reach.

    No point of a line is nearer to the other line than the boxes are to each other, so that the
    Chamfer distance of any other pair is beyond the reach too.
    """
    if not len(pred.pts_m) or not len(true.pts_m):
        return np.zeros((len(pred.pts_m), len(true.pts_m)), dtype=bool)
    (pred_low, pred_high), (true_low, true_high) = _bounds(pred.pts_m), _bounds(true.pts_m)
    gap = np.maximum(pred_low[:, None] - true_high[None], true_low[None] - pred_high[:, None])
    gap = np.maximum(gap, 0.0)
    near = np.hypot(gap[..., 0], gap[..., 1]) <= reach_m + _ROUNDING_M
    return np.asarray(near & (np.asarray(pred.labels)[:, None] == np.asarray(true.labels)[None]))


def _box_distances(
    lines: NDArray[np.float64],
    others: NDArray[np.float64],
    i: NDArray[np.integer],
    j: NDArray[np.integer],
) -> NDArray[np.float64]:
    """(K,) mean distances of the points of ``lines[i]`` to the bounding boxes of ``others[j]``.

    The other line lies in its box, so that this is at most the mean distance to the line.
    """
    square = np.zeros((len(i), lines.shape[1]))
    for axis in (0, 1):
        points, bounds = lines[..., axis][i], others[..., axis]
        low, high = bounds.min(axis=1)[j, None], bounds.max(axis=1)[j, None]
        gap = np.maximum(np.maximum(low - points, points - high), 0.0)
        square += gap * gap
    return np.asarray(np.sqrt(square).mean(axis=1))


def _bounds(
    lines: Sequence[NDArray[np.floating]],
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """(K, 2) lower and upper corners of polylines."""
    points = np.concatenate(lines)
    first = np.cumsum([0, *(len(line) for line in lines[:-1])])
    return np.minimum.reduceat(points, first), np.maximum.reduceat(points, first)


def match_lines(
    distances: NDArray[np.float64], scores: NDArray[np.float64], thresholds_m: Sequence[float]
) -> NDArray[np.bool_]:
    """Decide which predictions are true positives.

    Args:
        distances: (P, G) metres.
        scores: (P,) confidence; ties keep the order of the predictions.
        thresholds_m: T largest distances.

    Returns:
        (T, P) true positives.
    """
    hits = np.zeros((len(thresholds_m), len(scores)), dtype=bool)
    if not distances.size:
        return hits
    nearest = distances.argmin(axis=1)
    distance = distances[np.arange(len(scores)), nearest]
    order = np.argsort(-scores, kind='stable')
    for hit, threshold in zip(hits, thresholds_m, strict=True):
        close = order[distance[order] <= threshold]
        _, first = np.unique(nearest[close], return_index=True)
        hit[close[first]] = True
    return hits


def match_sample(
    pred: MapLines, true: MapLines, num_classes: int, mode: ChamferMode
) -> SampleMatches:
    """Match one sample, all classes at once.

    Args:
        pred: Predicted lines.
        true: True lines, same frame.
        num_classes: Number of classes C.
        mode: How lines are compared.

    Returns:
        True positives at each threshold.
    """
    scores = np.asarray(pred.scores, dtype=np.float64)
    hits = match_lines(line_distances(pred, true, mode), scores, mode.thresholds_m)
    num_gt = np.bincount(np.asarray(true.labels, dtype=np.int64), minlength=num_classes)
    return SampleMatches(np.asarray(pred.labels, dtype=np.int64), scores, hits, num_gt)
