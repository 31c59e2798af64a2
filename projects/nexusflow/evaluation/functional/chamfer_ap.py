# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
r"""Average precision of vector maps under the Chamfer distance.

The metric of MapTR (Liao et al., arXiv 2208.14437;
``MapTR/projects/mmdet3d_plugin/datasets/map_utils``), reimplemented:

1. Predicted and true lines are resampled to ``n`` points, uniformly by arc length.
2. Distance of a prediction P and a ground truth G of the same class and sample, undirected, in
   metres:

   .. math:: CD(P, G) = \tfrac12 \Big(\operatorname{mean}_{p \in P} \min_{g \in G} \|p - g\|
             + \operatorname{mean}_{g \in G} \min_{p \in P} \|p - g\|\Big)

3. Every prediction belongs to its **nearest** ground truth. By falling score it is a true positive
   when CD <= t and that ground truth is free; otherwise a false positive, with no second choice.
4. Over all samples, sorted by score: area under the monotone envelope of precision over recall.
5. AP of a class = mean over the thresholds t = 0.5, 1.0, 1.5 m; mAP = mean over the classes.

Here, unlike there: one distance matrix serves all thresholds, samples are aligned by token and not
by place in a list, ties in score have a fixed order, and a class without any ground truth is NaN
and left out of the mean instead of counting zero. MapTR ignores pairs whose 2 m buffers do not
meet (``buffer_gate=True``); without it only pairs that cannot be within the largest threshold are
skipped, which changes nothing. ``'streammapnet'`` (Yuan et al., arXiv 2308.12570) differs by 200
points and no gate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from nexusflow.geometry.polylines import resample

__all__ = [
    'MODES',
    'ApTable',
    'ChamferMode',
    'MapLines',
    'SampleMatches',
    'average_precision',
    'chamfer_distances',
    'match_lines',
    'match_sample',
    'score_matches',
]

_BUFFER_M = 2.0
_PAIRS_AT_ONCE = 256


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
    'maptr': ChamferMode(),
    'maptr_gated': ChamferMode(buffer_gate=True),
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


class SampleMatches(NamedTuple):
    """What one class of one sample adds to the pool.

    Attributes:
        scores: (K,) confidence of the predictions.
        hits: (T, K) whether each prediction is a true positive at each threshold.
        num_gt: Number of true lines.
    """

    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    num_gt: int


@dataclass(frozen=True)
class ApTable:
    """Average precision per class and threshold.

    Attributes:
        classes: C class names.
        thresholds_m: T thresholds, metres.
        ap: (C, T); NaN for a class without ground truth.
        num_gt: (C,) number of true lines.
        num_pred: (C,) number of predicted lines.
    """

    classes: tuple[str, ...]
    thresholds_m: tuple[float, ...]
    ap: NDArray[np.float64]
    num_gt: NDArray[np.int64]
    num_pred: NDArray[np.int64]

    @property
    def per_class(self) -> NDArray[np.float64]:
        """(C,) mean over the thresholds."""
        return self.ap.mean(axis=1)

    @property
    def mean(self) -> float:
        """Mean over the classes that have ground truth; NaN when none has."""
        valid = self.per_class[~np.isnan(self.per_class)]
        return float(valid.mean()) if len(valid) else float('nan')

    def flat(self) -> dict[str, float]:
        """``mAP``, ``AP_<class>`` and ``AP_<class>@<threshold>``."""
        out = {'mAP': self.mean}
        rows = list(zip(self.classes, self.per_class, self.ap, strict=True))
        out |= {f'AP_{name}': float(mean) for name, mean, _ in rows}
        for name, _, row in rows:
            limits = zip(self.thresholds_m, row, strict=True)
            out |= {f'AP_{name}@{limit:g}': float(value) for limit, value in limits}
        return out


def chamfer_distances(
    pred: NDArray[np.float64], true: NDArray[np.float64], mode: ChamferMode
) -> NDArray[np.float64]:
    """Chamfer distance of each prediction to each ground truth.

    Args:
        pred: (P, n, 2) metres.
        true: (G, n, 2) metres, same frame.
        mode: Which pairs are compared.

    Returns:
        (P, G) metres; infinite for pairs which the gate of the mode excludes.
    """
    out = np.full((len(pred), len(true)), np.inf)
    if mode.buffer_gate:
        near = shapely.intersects(_buffers(pred)[:, None], _buffers(true)[None])
    else:
        lower = np.maximum(pred.min(axis=1)[:, None], true.min(axis=1)[None])
        upper = np.minimum(pred.max(axis=1)[:, None], true.max(axis=1)[None])
        gap = np.maximum(lower - upper, 0.0)
        near = np.hypot(gap[..., 0], gap[..., 1]) <= max(mode.thresholds_m)
    rows, cols = np.nonzero(near)
    for begin in range(0, len(rows), _PAIRS_AT_ONCE):
        i, j = rows[begin : begin + _PAIRS_AT_ONCE], cols[begin : begin + _PAIRS_AT_ONCE]
        dx = pred[i, :, None, 0] - true[j, None, :, 0]
        dy = pred[i, :, None, 1] - true[j, None, :, 1]
        square = dx * dx + dy * dy
        there, back = np.sqrt(square.min(axis=2)), np.sqrt(square.min(axis=1))
        out[i, j] = 0.5 * (there.mean(axis=1) + back.mean(axis=1))
    return out


def _buffers(lines: NDArray[np.float64]) -> NDArray[np.object_]:
    """Buffers of 2 m with flat ends and mitred corners."""
    return shapely.buffer(
        shapely.linestrings(lines), _BUFFER_M, cap_style='flat', join_style='mitre'
    )


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
) -> list[SampleMatches]:
    """Match one sample, class by class.

    Args:
        pred: Predicted lines.
        true: True lines, same frame.
        num_classes: Number of classes C.
        mode: How lines are compared.

    Returns:
        C matches.
    """
    pred_pts = resample(pred.pts_m, mode.num_points)
    true_pts = resample(true.pts_m, mode.num_points)
    scores = np.asarray(pred.scores, dtype=np.float64)
    out = []
    for label in range(num_classes):
        mine, theirs = np.asarray(pred.labels) == label, np.asarray(true.labels) == label
        distances = chamfer_distances(pred_pts[mine], true_pts[theirs], mode)
        hits = match_lines(distances, scores[mine], mode.thresholds_m)
        out.append(SampleMatches(scores[mine], hits, int(theirs.sum())))
    return out


def average_precision(scores: NDArray[np.float64], hits: NDArray[np.bool_], num_gt: int) -> float:
    """Area under the monotone envelope of precision over recall (all points, not eleven).

    Args:
        scores: (K,) confidence; ties keep their order.
        hits: (K,) true positives.
        num_gt: Number of true lines.

    Returns:
        AP in [0, 1]; NaN without ground truth.

    Example:
        >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), num_gt=2)
        0.8333333333333333
    """
    if num_gt == 0:
        return float('nan')
    true_positives = np.cumsum(hits[np.argsort(-scores, kind='stable')])
    precision = true_positives / np.arange(1, len(scores) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    recall_steps = np.diff(true_positives / num_gt, prepend=0.0)
    return float((recall_steps * envelope).sum())


def score_matches(
    matches: Mapping[str, Sequence[SampleMatches]],
    classes: Sequence[str],
    mode: ChamferMode,
    tokens: Iterable[str] | None = None,
) -> ApTable:
    """Pool the matches of samples.

    Args:
        matches: Token to the C matches of that sample; the order of the mapping does not matter.
        classes: C class names.
        mode: The mode they were matched in.
        tokens: The samples to pool; all by default.

    Returns:
        Average precision of each class.
    """
    chosen = [matches[token] for token in sorted(matches if tokens is None else tokens)]
    num_t = len(mode.thresholds_m)
    ap = np.full((len(classes), num_t), np.nan)
    num_gt = np.zeros(len(classes), dtype=np.int64)
    num_pred = np.zeros(len(classes), dtype=np.int64)
    for label in range(len(classes)):
        pool = [sample[label] for sample in chosen]
        scores = np.concatenate([np.zeros(0), *(m.scores for m in pool)])
        hits = np.concatenate([np.zeros((num_t, 0), bool), *(m.hits for m in pool)], axis=1)
        num_gt[label], num_pred[label] = sum(m.num_gt for m in pool), len(scores)
        ap[label] = [average_precision(scores, hit, int(num_gt[label])) for hit in hits]
    return ApTable(tuple(classes), mode.thresholds_m, ap, num_gt, num_pred)
