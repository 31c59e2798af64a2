# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Boxes of a tracking submission as columns, checked as the official evaluation checks them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .box_columns import BoxColumns, interpolate, mean_track_scores
from .submission import MAX_BOXES, TRACKING_CLASSES
from .tracking_frames import KeyFrames, judged

__all__ = ['check_samples', 'submitted_boxes', 'submitted_tracks']

_WIDTHS = {'translation': 3, 'size': 3, 'rotation': 4, 'velocity': 2}


def check_samples(results: Mapping[str, Any], tokens: Sequence[str], eval_set: str) -> None:
    """Check that every sample of an eval set is there.

    Raises:
        ValueError: Samples are missing (the message says how many and names one), or the eval set
            has none in these tables.
    """
    if not tokens:
        raise ValueError(
            f'eval set {eval_set!r}: none of its scenes is in the tables; set data_root and version'
            ' to the data set that it belongs to'
        )
    missing = [token for token in tokens if token not in results]
    if missing:
        raise ValueError(
            f'tracking submission: {len(missing)} of {len(tokens)} samples of {eval_set!r} are'
            f' missing, e.g. {missing[0]}; a sample without boxes must be there with an empty list'
        )


def submitted_boxes(
    results: Mapping[str, Sequence[Mapping[str, Any]]], frames: KeyFrames
) -> BoxColumns:
    """The boxes of the key frames, as they were submitted.

    Args:
        results: Sample token to its boxes in the official form; it may hold more samples.
        frames: Key frames; all must be in ``results``.

    Raises:
        ValueError: More than 500 boxes in a sample, a field that is missing, NaN or of a wrong
            length, a class that is not tracked, or a track with two boxes of a class in a sample.
    """
    rows: list[Mapping[str, Any]] = []
    counts = []
    for token in frames.tokens:
        boxes = results[token]
        if len(boxes) > MAX_BOXES:
            raise ValueError(
                f'tracking submission: sample {token} has {len(boxes)} boxes; the evaluation'
                f' accepts {MAX_BOXES}, submit the best ones'
            )
        rows += boxes
        counts.append(len(boxes))
    frame = np.repeat(np.arange(len(counts)), counts)
    tokens = [frames.tokens[index] for index in frame]
    arrays = {name: _array(rows, tokens, name) for name in _WIDTHS}
    number: dict[tuple[str, Any], int] = {}
    _refuse(['tracking_id' not in r for r in rows], tokens, 'tracking_id is missing')
    ids = ((frames.scene[i], r['tracking_id']) for i, r in zip(frame, rows, strict=True))
    columns = BoxColumns(
        frame=frame,
        track=np.array([number.setdefault(pair, len(number)) for pair in ids], dtype=np.int64),
        label=_labels(rows, tokens),
        center=arrays['translation'],
        score=np.array([float(r.get('tracking_score', -1.0)) for r in rows], dtype=np.float64),
    )
    _refuse(np.isnan(columns.score), tokens, 'tracking_score is NaN')
    _refuse(_repeated(columns), tokens, 'a tracking_id is given to two boxes of one class')
    with_points = np.array([int(r.get('num_pts', -1)) != 0 for r in rows], dtype=bool)
    return columns.take(with_points)


def submitted_tracks(boxes: BoxColumns, frames: KeyFrames) -> BoxColumns:
    """What is judged of submitted boxes: those in range, with the track's score, gaps filled."""
    near = boxes.take(judged(boxes, frames))
    return interpolate(mean_track_scores(near), frames.time_us)


def _array(rows: Sequence[Mapping[str, Any]], tokens: list[str], name: str) -> NDArray[np.float64]:
    """(N, width) one field of all boxes."""
    width = _WIDTHS[name]
    values = [r.get(name, ()) for r in rows]
    _refuse([len(v) != width for v in values], tokens, f'{name} needs {width} numbers')
    out = np.array(values, dtype=np.float64).reshape(-1, width)
    if name != 'velocity':
        _refuse(np.isnan(out).any(axis=1), tokens, f'{name} is NaN')
    return out


def _labels(rows: Sequence[Mapping[str, Any]], tokens: list[str]) -> NDArray[np.int64]:
    """(N,) indices into ``TRACKING_CLASSES``."""
    label_of = {name: index for index, name in enumerate(TRACKING_CLASSES)}
    labels = np.array([label_of.get(r.get('tracking_name'), -1) for r in rows], dtype=np.int64)
    _refuse(labels < 0, tokens, f'tracking_name is none of {list(TRACKING_CLASSES)}')
    return labels


def _repeated(boxes: BoxColumns) -> NDArray[np.bool_]:
    """(N,) boxes whose track has an earlier one of the same class in the same frame."""
    keys = (boxes.frame * len(TRACKING_CLASSES) + boxes.label) * len(boxes) + boxes.track
    _, first = np.unique(keys, return_index=True)
    out = np.ones(len(boxes), dtype=bool)
    out[first] = False
    return out


def _refuse(wrong: Iterable[Any], tokens: list[str], what: str) -> None:
    """Raise ``ValueError`` when a box is wrong."""
    mask = np.asarray(wrong, dtype=bool)
    if mask.any():
        token = tokens[int(mask.argmax())]
        raise ValueError(f'tracking submission: sample {token}: {what} ({int(mask.sum())} boxes)')
