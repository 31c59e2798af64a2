# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Which true and predicted boxes of a frame are near enough to be matched, and how far apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .box_columns import BoxColumns

__all__ = ['Pairs', 'find_pairs']


class Pairs(NamedTuple):
    """E candidate matches of one class, sorted by true, then by predicted box.

    Attributes:
        true: (E,) row of the true box.
        pred: (E,) row of the predicted box.
        distance: (E,) metres.
        distance_alone: (E,) the same as it comes out when no other box is predicted in the frame.
    """

    true: NDArray[np.int64]
    pred: NDArray[np.int64]
    distance: NDArray[np.float64]
    distance_alone: NDArray[np.float64]


def find_pairs(true: BoxColumns, pred: BoxColumns, limit_m: float) -> Pairs:
    """Pairs of boxes of the same frame whose centres are less than a limit apart, seen from above.

    The devkit takes |x|^2 + |y|^2 - 2 xy from scikit-learn. At coordinates of kilometres that is
    wrong by up to 0.1 mm, and BLAS rounds a product with one column otherwise than with several; to
    agree with it on boxes that coincide, products of the same shapes are taken here. A box can be
    alone only when no other one of its frame has a higher score.

    Args:
        true: True boxes of one class.
        pred: Predicted boxes of the same class.
        limit_m: Largest distance, exclusive.
    """
    parts = []
    true_xy, pred_xy = true.center[:, :2].copy(), pred.center[:, :2].copy()
    for begin, end, first, last in _shared_frames(true.frame, pred.frame):
        ours, theirs = true_xy[begin:end], pred_xy[first:last]
        distance = _distances(ours, theirs)
        i, j = np.nonzero(distance < limit_m)
        if not len(i):
            continue
        best = int(pred.score[first:last].argmax())
        alone = _distances(ours, theirs[best : best + 1])[:, 0]
        near = distance[i, j]
        parts.append((i + begin, j + first, near, np.where(j == best, alone[i], near)))
    if not parts:
        empty, none = np.zeros(0, dtype=np.int64), np.zeros(0)
        return Pairs(empty, empty, none, none)
    return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _shared_frames(
    true_frame: NDArray[np.int64], pred_frame: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(K, 4) rows begin, end of the true and of the predicted boxes in each frame with both."""
    frames = np.intersect1d(true_frame, pred_frame)
    bounds = [
        np.searchsorted(rows, frames, side)
        for rows in (true_frame, pred_frame)
        for side in ('left', 'right')
    ]
    return np.stack(bounds, axis=1)


def _distances(true: NDArray[np.float64], pred: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, M) distances by the formula of ``sklearn.metrics.pairwise.euclidean_distances``."""
    square = -2 * (true @ pred.T)
    square += np.einsum('ij,ij->i', true, true)[:, None]
    square += np.einsum('ij,ij->i', pred, pred)[None]
    return np.sqrt(np.maximum(square, 0, out=square), out=square)
