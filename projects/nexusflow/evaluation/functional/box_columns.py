# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Tracked boxes of many key frames as columns, and what the devkit does to them before matching.

The rules of ``nuscenes.eval.common.loaders`` and ``nuscenes.eval.tracking.loaders`` (devkit 1.2),
stated as array operations; the order of the boxes within a frame is kept, because matching depends
on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ['BoxColumns', 'interpolate', 'mean_track_scores']


@dataclass(frozen=True)
class BoxColumns:
    """N boxes, sorted by frame.

    Attributes:
        frame: (N,) index of the key frame; those of a scene are consecutive, in time order.
        track: (N,) index of the track; a track lies in one scene.
        label: (N,) index of the class.
        center: (N, 3) metres, global frame.
        score: (N,) confidence; -1 for ground truth.
    """

    frame: NDArray[np.int64]
    track: NDArray[np.int64]
    label: NDArray[np.int64]
    center: NDArray[np.float64]
    score: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> BoxColumns:
        """The boxes that an index array or a mask selects."""
        columns = (self.frame, self.track, self.label, self.center, self.score)
        return BoxColumns(*(column[index] for column in columns))


def mean_track_scores(boxes: BoxColumns) -> BoxColumns:
    """Give each box the mean score of its track, as the devkit does before interpolation."""
    order = np.argsort(boxes.track, kind='stable')
    _, begin = np.unique(boxes.track[order], return_index=True)
    score = np.empty(len(boxes))
    for rows in np.split(order, begin[1:]) if len(boxes) else ():
        # One mean a track and not a sum over all: equal scores of tracks must stay equal.
        score[rows] = boxes.score[rows].mean()
    return replace(boxes, score=score)


def interpolate(boxes: BoxColumns, time_us: NDArray[np.int64]) -> BoxColumns:
    """Fill the frames that tracks miss between their first and last box.

    The devkit gives the later box the weight (t_later - t) / (t_later - t_earlier), which is the
    share of the *earlier* one (nuscenes-devkit issue 1141); so does this, or scores would differ.
    New boxes follow the others of their frame, in the order in which their tracks appear.

    Args:
        boxes: The boxes.
        time_us: (F,) time of every frame, microseconds.

    Returns:
        The boxes with those between them; class of the later box.
    """
    order = np.lexsort((boxes.frame, boxes.track))
    left, right = order[:-1], order[1:]
    gap = np.where(
        boxes.track[left] == boxes.track[right], boxes.frame[right] - boxes.frame[left], 0
    )
    missing = np.maximum(gap - 1, 0)
    left, right = np.repeat(left, missing), np.repeat(right, missing)
    nth = np.arange(len(left)) - np.repeat(np.cumsum(missing) - missing, missing)
    frame = boxes.frame[left] + 1 + nth
    time = [time_us[index] for index in (boxes.frame[left], frame, boxes.frame[right])]
    ratio = (time[2] - time[1]) / (time[2] - time[0])
    center = (1.0 - ratio)[:, None] * boxes.center[left] + ratio[:, None] * boxes.center[right]
    score = (1.0 - ratio) * boxes.score[left] + ratio * boxes.score[right]
    first_row = _first_rows(boxes.track)[left]
    place = np.concatenate([np.arange(len(boxes)), len(boxes) + first_row])
    new = BoxColumns(frame, boxes.track[left], boxes.label[right], center, score)
    both = _concatenate(boxes, new)
    return both.take(np.lexsort((place, both.frame)))


def _first_rows(track: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) row where the track of each box appears first."""
    _, first, inverse = np.unique(track, return_index=True, return_inverse=True)
    return first[inverse]


def _concatenate(one: BoxColumns, other: BoxColumns) -> BoxColumns:
    """The boxes of both."""
    return BoxColumns(
        np.concatenate([one.frame, other.frame]),
        np.concatenate([one.track, other.track]),
        np.concatenate([one.label, other.label]),
        np.concatenate([one.center, other.center]),
        np.concatenate([one.score, other.score]),
    )
