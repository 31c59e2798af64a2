# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The nuScenes tracking metrics of one class, from matches to AMOTA.

Definitions: https://www.nuscenes.org/tracking, and ``nuscenes.eval.tracking`` of devkit 1.2 with the
configuration ``tracking_nips_2019``, peculiarities included: the recall thresholds come from the
scores of the matches that are no switches; the recall in MOTAR counts those matches only; the
traditional metrics are those at the threshold of the best MOTA; frames count for FAF when they hold
a box of the class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .box_columns import BoxColumns
from .clear_mot import Matches, boxes_per_frame, match_tracks
from .track_spans import track_spans
from .tracking_pairs import find_pairs

__all__ = ['METRICS', 'RULES', 'ClassCurve', 'TrackingRules', 'class_curve', 'class_metrics']

METRICS = (
    *('amota', 'amotp', 'recall', 'motar', 'gt', 'mota', 'motp', 'mt', 'ml', 'faf'),
    *('tp', 'fp', 'fn', 'ids', 'frag', 'tid', 'lgd'),
)
"""Names and order of the devkit."""


@dataclass(frozen=True)
class TrackingRules:
    """Settings of ``tracking_nips_2019``, the only official ones.

    Attributes:
        match_m: Centres must be nearer than this, seen from above.
        min_recall: Lowest recall of the average.
        num_recalls: Recalls from ``min_recall`` to 1 that are averaged.
        worst_motp_m: AMOTP of a recall that is not reached; AMOTA's is 0.
        worst_faf: FAF of a class without matches.
        worst_wait_s: TID and LGD of a class without matches.
    """

    match_m: float = 2.0
    min_recall: float = 0.1
    num_recalls: int = 40
    worst_motp_m: float = 2.0
    worst_faf: float = 500.0
    worst_wait_s: float = 20.0


RULES = TrackingRules()


@dataclass(frozen=True)
class ClassCurve:
    """Metrics of one class over the recalls (R), highest recall first.

    Attributes:
        confidence: (R,) score thresholds; NaN where the recall is not reached.
        max_recall: Recall of all predictions together.
        values: Metric to (R,) values; NaN where the recall is not reached.
    """

    confidence: NDArray[np.float64]
    max_recall: float
    values: dict[str, NDArray[np.float64]]


def class_curve(true: BoxColumns, pred: BoxColumns, step: NDArray[np.int64]) -> ClassCurve | None:
    """Judge the tracks of one class at every recall.

    Args:
        true: True boxes of the class.
        pred: Predicted boxes of the class.
        step: (F,) place of every frame in its scene.

    Returns:
        The curve; None when there is no true box.
    """
    if not len(true):
        return None
    pairs = find_pairs(true, pred, RULES.match_m)
    everything = match_tracks(true, pred, pairs, np.array([-np.inf]), step)
    counted = everything.pred[(everything.pred >= 0) & ~everything.switched]
    confidence = _thresholds(pred.score[counted], len(true))
    max_recall = len(counted) / len(true)
    if np.isnan(confidence).all():
        return ClassCurve(confidence, max_recall, _worst(true))
    levels = np.unique(confidence[~np.isnan(confidence)])
    matches = match_tracks(true, pred, pairs, levels, step)
    at_level = _metrics(true, pred, matches, levels, len(step))
    place = np.searchsorted(levels, np.nan_to_num(confidence, nan=levels[0]))
    reached = ~np.isnan(confidence)
    values = {name: np.where(reached, v[place], np.nan) for name, v in at_level.items()}
    return ClassCurve(confidence, max_recall, values)


def class_metrics(curve: ClassCurve | None) -> dict[str, float]:
    """The metrics of a class, all of :data:`METRICS`; NaN when there is no true box."""
    if curve is None:
        return dict.fromkeys(METRICS, float('nan'))
    values = curve.values
    best = int(np.nanargmax(values['mota']))
    out = {name: float(values[name][best]) for name in METRICS if name in values}
    out['amota'] = float(np.nan_to_num(values['motar'], nan=0.0).mean())
    out['amotp'] = float(np.nan_to_num(values['motp'], nan=RULES.worst_motp_m).mean())
    return {name: out[name] for name in METRICS}


def _thresholds(scores: NDArray[np.float64], num_true: int) -> NDArray[np.float64]:
    """(R,) scores that give the recalls, highest recall first; NaN where it is not reached."""
    recalls = np.linspace(RULES.min_recall, 1, RULES.num_recalls).round(12)
    if not len(scores):
        return np.full(len(recalls), np.nan)
    reached = np.arange(1, len(scores) + 1) / num_true
    out = np.interp(recalls, reached, np.sort(scores)[::-1], right=0)
    out[recalls > reached.max()] = np.nan
    return out[::-1]


def _metrics(
    true: BoxColumns,
    pred: BoxColumns,
    matches: Matches,
    levels: NDArray[np.float64],
    num_frames: int,
) -> dict[str, NDArray[np.float64]]:
    """Each metric (T,) at each score threshold."""
    active = pred.score[:, None] >= levels
    found = matches.pred >= 0
    num_true, num_found = len(true), found.sum(axis=0)
    ids = matches.switched.sum(axis=0)
    tp, fn, fp = num_found - ids, num_true - num_found, active.sum(axis=0) - num_found
    used = boxes_per_frame(pred, active, num_frames) > 0
    used[true.frame] = True
    recall = tp / num_true
    with np.errstate(divide='ignore', invalid='ignore'):
        motar = 1 - ((fn + ids + fp) - (1 - recall) * num_true) / (recall * num_true)
        motp = matches.distance.sum(axis=0) / num_found
    return {
        'recall': num_found / num_true,
        'motar': np.where(tp > 0, np.maximum(0, motar), np.nan),
        'gt': np.full(len(levels), float(num_true)),
        'mota': np.maximum(0, 1 - (fn + ids + fp) / num_true),
        'motp': np.where(num_found > 0, motp, np.nan),
        'faf': fp / used.sum(axis=0) * 100,
        'tp': tp,
        'fp': fp,
        'fn': fn,
        'ids': ids,
        **track_spans(true, found),
    }


def _worst(true: BoxColumns) -> dict[str, NDArray[np.float64]]:
    """Metrics of a class whose predictions reach no recall; how its errors divide is unknown."""
    zeros = dict.fromkeys(('recall', 'motar', 'mota', 'tp', 'mt'), 0.0)
    unknown = dict.fromkeys(('fp', 'ids', 'frag'), float('nan'))
    waits = dict.fromkeys(('tid', 'lgd'), RULES.worst_wait_s)
    single = zeros | unknown | waits | {'motp': RULES.worst_motp_m, 'faf': RULES.worst_faf}
    single |= {'gt': len(true), 'fn': len(true), 'ml': len(np.unique(true.track))}
    return {name: np.full(RULES.num_recalls, float(value)) for name, value in single.items()}
