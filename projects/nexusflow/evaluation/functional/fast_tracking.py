# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The nuScenes tracking evaluation in seconds: the official numbers without the official code.

Every metric of every class equals that of devkit 1.2 with motmetrics 1.4 to 1e-6, its peculiarities
included (``tests/test_evaluation/test_fast_tracking.py``); neither has to be installed, except that
the scenes of predefined splits are listed in the devkit.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .box_columns import BoxColumns
from .eval_sets import scenes_of_eval_set
from .submission import TRACKING_CLASSES
from .submitted_boxes import check_samples, submitted_boxes, submitted_tracks
from .tracking_result import TrackingResult, overall, why_zero, write_result
from .tracking_scores import METRICS, ClassCurve, class_curve, class_metrics
from .tracking_truth import TrackingTruth, load_truth

__all__ = ['evaluate_fast']


def evaluate_fast(
    submission: Mapping[str, Any],
    data_root: str | Path,
    version: str,
    eval_sets: Iterable[str],
    out_dir: str | Path | None = None,
) -> dict[str, TrackingResult]:
    """Score one submission on several eval sets.

    Args:
        submission: Content of a tracking submission; it may hold more samples than the eval sets.
        data_root: Root folder of the data set.
        version: Folder of the tables, e.g. ``'v1.0-trainval'``.
        eval_sets: Predefined splits, or keys of ``<data_root>/<version>/splits.json``.
        out_dir: ``metrics_summary.json`` and ``metrics_details.json`` go to a folder of each eval
            set in it; nowhere by default.

    Returns:
        Eval set to its scores. Without any box they are the worst: AMOTA 0, AMOTP 2, FN all.

    Raises:
        ValueError: Unknown eval set, samples without a prediction, boxes that the official
            evaluation would refuse, or no annotated box in an eval set.
    """
    scenes_of = {name: scenes_of_eval_set(data_root, version, name) for name in eval_sets}
    truth = load_truth(data_root, version, {s for scenes in scenes_of.values() for s in scenes})
    masks = {}
    for name, scenes in scenes_of.items():
        wanted = set(scenes)
        mask = masks[name] = np.array([scene in wanted for scene in truth.frames.scene], bool)
        tokens = [truth.frames.tokens[index] for index in np.flatnonzero(mask)]
        check_samples(submission['results'], tokens, name)
        if truth.annotated.isdisjoint(scenes):
            raise ValueError(
                f'{data_root}: eval set {name!r} has no annotated box of a tracking class, so'
                ' there is nothing to judge; name another eval set'
            )
    boxes = submitted_boxes(submission['results'], truth.frames)
    tracks = submitted_tracks(boxes, truth.frames)
    out = {}
    for name, mask in masks.items():
        result = _score(truth, tracks, mask, name, int(mask[boxes.frame].sum()))
        result.summary['meta'] = dict(submission['meta'])
        if out_dir is not None:
            write_result(Path(out_dir) / name, result)
        out[name] = result
    return out


def _score(
    truth: TrackingTruth,
    tracks: BoxColumns,
    mask: NDArray[np.bool_],
    eval_set: str,
    num_boxes: int,
) -> TrackingResult:
    """Scores over the frames of a mask."""
    start = time.perf_counter()
    true, pred = truth.boxes.take(mask[truth.boxes.frame]), tracks.take(mask[tracks.frame])
    curves: dict[str, ClassCurve | None] = {}
    for label, name in enumerate(TRACKING_CLASSES):
        ours, theirs = true.take(true.label == label), pred.take(pred.label == label)
        curves[name] = class_curve(ours, theirs, truth.frames.step)
    values = {name: class_metrics(curve) for name, curve in curves.items()}
    labels = {metric: {name: values[name][metric] for name in values} for metric in METRICS}
    summary = {'label_metrics': labels, 'eval_time': time.perf_counter() - start} | overall(labels)
    known = {name: curve for name, curve in curves.items() if curve is not None}
    reason = None
    if not summary['amota'] > 0:
        recalls = {name: curve.max_recall for name, curve in known.items()}
        reason = f'{eval_set}: {why_zero(num_boxes, len(pred), len(true), recalls)}'
    details = {
        name: {'confidence': curve.confidence.tolist()}
        | {metric: value.tolist() for metric, value in curve.values.items()}
        for name, curve in known.items()
    }
    return TrackingResult(summary, details, reason)
