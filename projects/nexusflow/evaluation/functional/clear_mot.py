# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""CLEAR MOT matching (Bernardin and Stiefelhagen 2008), all scenes and score thresholds at once.

The rule is that of ``motmetrics.MOTAccumulator``: an object stays with the prediction that it had
when both are there and near; the remaining ones are assigned with least total distance; an object
that gets another prediction than it had last is a switch. There the frames, the thresholds and the
scenes are three loops; here the loop is over the k-th frames of all scenes, and objects, predictions
and thresholds are axes of arrays. Only frames where several objects and predictions compete, or
where distances tie, are handed to the assignment solver, as the very matrix that motmetrics makes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from .box_columns import BoxColumns
from .tracking_pairs import Pairs

__all__ = ['Matches', 'boxes_per_frame', 'match_tracks']

_TIE_M = 1e-9


class Matches(NamedTuple):
    """What became of each true box (N) at each threshold (T).

    Attributes:
        pred: (N, T) row of the predicted box; -1: missed.
        switched: (N, T) whether the object's last prediction was of another track.
        distance: (N, T) metres; 0 where missed.
    """

    pred: NDArray[np.int32]
    switched: NDArray[np.bool_]
    distance: NDArray[np.float64]


class _Frames(NamedTuple):
    """What all frames share: boxes (N true, M predicted), thresholds (T)."""

    true: BoxColumns
    pred: BoxColumns
    active: NDArray[np.bool_]
    alone: NDArray[np.bool_]
    last: NDArray[np.int64]


class _Open(NamedTuple):
    """K candidate matches that are still open, each at one threshold, sorted by true box."""

    true: NDArray[np.int64]
    pred: NDArray[np.int64]
    column: NDArray[np.int64]
    distance: NDArray[np.float64]

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> _Open:
        """Those that an index array or a mask selects."""
        return _Open(*(field[index] for field in self))


def match_tracks(
    true: BoxColumns,
    pred: BoxColumns,
    pairs: Pairs,
    thresholds: NDArray[np.float64],
    step: NDArray[np.int64],
) -> Matches:
    """Match the boxes of one class.

    Args:
        true: N true boxes of the class; tracks numbered from 0.
        pred: M predicted boxes of the class; one of a track in a frame.
        pairs: Their candidate matches.
        thresholds: (T,) predictions of a lower score are left out.
        step: (F,) place of every frame in its scene: 0 for the first.

    Returns:
        The matches.
    """
    active = pred.score[:, None] >= thresholds
    count = boxes_per_frame(pred, active, len(step))
    last = np.full((true.track.max(initial=-1) + 1, len(thresholds)), -1, dtype=np.int64)
    frames = _Frames(true, pred, active, count == 1, last)
    shape = (len(true), len(thresholds))
    out = Matches(np.full(shape, -1, np.int32), np.zeros(shape, bool), np.zeros(shape))
    order = np.argsort(step[true.frame[pairs.true]], kind='stable')
    steps = step[true.frame[pairs.true[order]]]
    for rows in np.split(order, np.flatnonzero(np.diff(steps)) + 1):
        _advance(frames, Pairs(*(column[rows] for column in pairs)), out)
    return out


def boxes_per_frame(
    boxes: BoxColumns, active: NDArray[np.bool_], num_frames: int
) -> NDArray[np.int64]:
    """(F, T) number of boxes of each frame that are active (N, T)."""
    count = np.zeros((num_frames, active.shape[1]), dtype=np.int64)
    if len(boxes):
        frames, begin = np.unique(boxes.frame, return_index=True)
        count[frames] = np.add.reduceat(active, begin, axis=0, dtype=np.int64)
    return count


def _advance(frames: _Frames, pairs: Pairs, out: Matches) -> None:
    """Match one frame of every scene; ``pairs`` are those of these frames."""
    true, pred, active, alone, last = frames
    near = active[pairs.pred]
    object_, track = true.track[pairs.true], pred.track[pairs.pred]
    distance = np.where(
        alone[true.frame[pairs.true]], pairs.distance_alone[:, None], pairs.distance[:, None]
    )
    kept = near & (last[object_] == track[:, None])
    preds, place = np.unique(pairs.pred, return_inverse=True)
    owner = np.full((len(preds), near.shape[1]), -1)
    row, column = (index[::-1] for index in np.nonzero(kept))
    owner[place[row], column] = row  # of several objects the first, which is written last, owns it
    kept &= owner[place] == np.arange(len(kept))[:, None]
    row, column = np.nonzero(kept)
    _write(out, pairs.true[row], column, pairs.pred[row], distance[row, column])
    free = near & (owner[place] < 0) & (out.pred[pairs.true] < 0)
    row, column = np.nonzero(free)
    if not len(row):
        return
    new = _assign(frames, _Open(pairs.true[row], pairs.pred[row], column, distance[row, column]))
    before = last[true.track[new.true], new.column]
    _write(out, new.true, new.column, new.pred, new.distance)
    out.switched[new.true, new.column] = before >= 0
    last[true.track[new.true], new.column] = pred.track[new.pred]


def _write(
    out: Matches,
    true: NDArray[np.int64],
    column: NDArray[np.int64],
    pred: NDArray[np.int64],
    distance: NDArray[np.float64],
) -> None:
    """Record matches."""
    out.pred[true, column] = pred
    out.distance[true, column] = distance


def _assign(frames: _Frames, open_: _Open) -> _Open:
    """The matches of least total distance among the most possible.

    Where candidates form a star, one box with several partners that have no other one, its nearest
    partner is the answer. All other frames go to the solver.
    """
    width = frames.active.shape[1]
    object_, pred = open_.true * width + open_.column, open_.pred * width + open_.column
    object_, pred = (np.unique(key, return_inverse=True)[1] for key in (object_, pred))
    rivals_of_object = np.bincount(pred)[pred] > 1
    rivals_of_pred = np.bincount(object_)[object_] > 1
    object_crowded = np.bincount(object_, rivals_of_object)[object_] > 0
    pred_crowded = np.bincount(pred, rivals_of_pred)[pred] > 0
    star = np.where(object_crowded, pred + object_.max() + 1, object_)
    order = np.lexsort((open_.distance, star))
    first = np.diff(star[order], prepend=-1) > 0
    ahead = np.diff(open_.distance[order], append=np.inf)
    tied = first & (ahead < _TIE_M) & ~np.append(first[1:], True)
    unclear = object_crowded & pred_crowded
    unclear[order[tied]] = True
    scene_column = frames.true.frame[open_.true] * width + open_.column
    hard = np.isin(scene_column, scene_column[unclear]) if unclear.any() else unclear
    easy = order[first]
    easy = open_.take(easy[~hard[easy]])
    if not hard.any():
        return easy
    solved = _solve(frames, open_.take(hard), scene_column[hard])
    return _Open(*(np.concatenate(fields) for fields in zip(easy, solved, strict=True)))


def _solve(frames: _Frames, open_: _Open, key: NDArray[np.int64]) -> _Open:
    """Hand whole frames to the solver; ``key`` tells them and their thresholds apart."""
    order = np.argsort(key, kind='stable')
    chosen = []
    for rows in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        column, frame = open_.column[rows[0]], frames.true.frame[open_.true[rows[0]]]
        begin, end = np.searchsorted(frames.true.frame, [frame, frame + 1])
        first, last = np.searchsorted(frames.pred.frame, [frame, frame + 1])
        here = first + np.flatnonzero(frames.active[first:last, column])
        cost = np.full((end - begin, len(here)), np.nan)
        i, j = open_.true[rows] - begin, np.searchsorted(here, open_.pred[rows])
        cost[i, j] = open_.distance[rows]
        place = np.full(cost.shape, -1)
        place[i, j] = rows
        rows = place[linear_sum_assignment(_finite(cost))]
        chosen.append(rows[rows >= 0])
    return open_.take(np.concatenate(chosen))


def _finite(cost: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace NaN by a cost above that of any assignment without one (motmetrics' number)."""
    missing = np.isnan(cost)
    if not missing.any():
        return cost
    largest = np.abs(cost[~missing]).max() + 1
    return np.where(missing, 2 * min(cost.shape) * largest + 1, cost)
