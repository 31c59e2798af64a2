# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""From the hits of single samples to the average precision of a data set.

Samples are pooled in the order of their tokens and the sort by score is stable, so that equal
scores are ordered by token and then by place in the sample: a table does not depend on the order
in which samples came, nor on who judged them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ['ApTable', 'SampleMatches', 'average_precision', 'score_matches']


class SampleMatches(NamedTuple):
    """What one sample adds to the pool, K predictions of C classes judged at T thresholds.

    Attributes:
        labels: (K,) class of each prediction.
        scores: (K,) confidence of each prediction.
        hits: (T, K) whether each prediction is a true positive at each threshold of its class.
        num_gt: (C,) number of true elements of each class.
    """

    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    num_gt: NDArray[np.int64]


@dataclass(frozen=True)
class ApTable:
    """Average precision per class and threshold.

    Attributes:
        classes: C class names.
        thresholds: (C, T) thresholds of each class, in the unit of the metric.
        ap: (C, T); NaN for a class without ground truth.
        num_gt: (C,) number of true elements.
        num_pred: (C,) number of predicted elements.
    """

    classes: tuple[str, ...]
    thresholds: NDArray[np.float64]
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

    def flat(self, prefix: str = '') -> dict[str, float]:
        """``mAP``, ``AP_<class>`` and ``AP_<class>@<threshold>``, after a prefix."""
        out = {f'{prefix}mAP': self.mean}
        rows = list(zip(self.classes, self.per_class, self.ap, self.thresholds, strict=True))
        out |= {f'{prefix}AP_{name}': float(mean) for name, mean, _, _ in rows}
        for name, _, row, limits in rows:
            pairs = zip(limits, row, strict=True)
            out |= {f'{prefix}AP_{name}@{limit:g}': float(value) for limit, value in pairs}
        return out


def average_precision(
    scores: NDArray[np.float64],
    hits: NDArray[np.bool_],
    num_gt: int,
    recall_points: int | None = None,
) -> float:
    """Area under the monotone envelope of precision over recall.

    Args:
        scores: (K,) confidence; ties keep their order.
        hits: (K,) true positives.
        num_gt: Number of true elements.
        recall_points: None takes the exact area (VOC since 2010); a number takes the mean of the
            envelope at that many even steps of recall from 0 to 1 (COCO: 101).

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
    recall = true_positives / num_gt
    if recall_points is None:
        return float((np.diff(recall, prepend=0.0) * envelope).sum())
    steps = np.searchsorted(recall, np.linspace(0.0, 1.0, recall_points))
    return float(np.append(envelope, 0.0)[steps].mean())


def score_matches(
    matches: Mapping[str, SampleMatches],
    classes: Sequence[str],
    thresholds: NDArray[np.float64],
    recall_points: int | None = None,
) -> ApTable:
    """Pool the matches of samples.

    Args:
        matches: Token to the matches of that sample; the order of the mapping does not matter.
        classes: C class names.
        thresholds: (C, T) thresholds that they were matched at.
        recall_points: See :func:`average_precision`.

    Returns:
        Average precision of each class.
    """
    chosen = [matches[token] for token in sorted(matches)]
    num_classes, num_t = thresholds.shape
    labels = np.concatenate([np.zeros(0, np.int64), *(m.labels for m in chosen)])
    scores = np.concatenate([np.zeros(0), *(m.scores for m in chosen)])
    hits = np.concatenate([np.zeros((num_t, 0), bool), *(m.hits for m in chosen)], axis=1)
    num_gt = np.sum([np.zeros(num_classes, np.int64), *(m.num_gt for m in chosen)], axis=0)
    ap = np.full((num_classes, num_t), np.nan)
    for label in range(num_classes):
        mine = labels == label
        ap[label] = [
            average_precision(scores[mine], hit[mine], int(num_gt[label]), recall_points)
            for hit in hits
        ]
    num_pred = np.bincount(labels, minlength=num_classes)
    return ApTable(tuple(classes), thresholds, ap, num_gt, num_pred)
