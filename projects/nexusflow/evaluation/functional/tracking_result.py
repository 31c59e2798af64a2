# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What a tracking evaluation gives, whichever judge it was, and why a score is zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .files import write_json
from .tracking_scores import METRICS, RULES

__all__ = [
    'TrackingResult',
    'largest_difference',
    'overall',
    'track_table',
    'why_zero',
    'write_result',
]

_SUMMED = ('mt', 'ml', 'tp', 'fp', 'fn', 'ids', 'frag')
_COUNTS = ('gt', *_SUMMED)


@dataclass(frozen=True)
class TrackingResult:
    """Scores of one eval set.

    Attributes:
        summary: The devkit's ``metrics_summary``: ``label_metrics`` (metric to class to value),
            each metric over all classes, the time.
        details: Class to its curves over the recalls, as in the devkit's ``metrics_details``.
        reason: Why AMOTA is 0; None when it is not.
    """

    summary: dict[str, Any]
    details: dict[str, Any]
    reason: str | None

    @property
    def metrics(self) -> dict[str, float]:
        """``AMOTA``, ``AMOTP``, ``MOTA``, ``RECALL``, ``IDS``, ``FP``, ``FN`` ... and ``AMOTA_<class>``.

        Counts are sums over classes except ``GT``, which is a mean, as the devkit defines them.
        NaN: no ground truth of that class.
        """
        labels = self.summary['label_metrics']
        out = {name.upper(): float(self.summary[name]) for name in labels}
        return out | {f'AMOTA_{name}': float(value) for name, value in labels['amota'].items()}


def overall(label_metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Each metric over all classes; classes without ground truth (NaN) are left out."""
    out = {}
    for name, values in label_metrics.items():
        known = [value for value in values.values() if not np.isnan(value)]
        mean = float(np.mean(known)) if known else float('nan')
        out[name] = float(np.sum(known)) if name in _SUMMED else mean
    return out


def largest_difference(one: TrackingResult, other: TrackingResult) -> float:
    """Largest difference of any metric, of a class or of all; infinite where only one is NaN."""
    worst = 0.0
    for name in METRICS:
        ours, theirs = (r.summary['label_metrics'][name] for r in (one, other))
        pairs = [(ours[label], theirs[label]) for label in theirs]
        for a, b in [*pairs, (one.summary[name], other.summary[name])]:
            if np.isnan(a) != np.isnan(b):
                return float('inf')
            worst = max(worst, 0.0 if np.isnan(a) else abs(a - b))
    return float(worst)


def why_zero(num_boxes: int, num_near: int, num_true: int, recalls: Mapping[str, float]) -> str:
    """Say in words why AMOTA is zero.

    Args:
        num_boxes: Boxes that were submitted.
        num_near: Boxes within the range of their class.
        num_true: True boxes that count.
        recalls: Class with true boxes to the recall of all its predictions.
    """
    if not num_true:
        return 'no annotated box is near enough to the ego and has a lidar or radar point'
    if not num_boxes:
        return 'no boxes were submitted: too little training, or too high score thresholds'
    if not num_near:
        return f'all {num_boxes} boxes lie outside the range of their class (40 m or 50 m)'
    if max(recalls.values()) < RULES.min_recall:
        best = max(recalls, key=lambda name: recalls[name])
        return (
            f'{num_near} boxes in range, but no class reaches a recall of {RULES.min_recall:g}'
            f' within {RULES.match_m:g} m of the ground truth; nearest is {best} with'
            f' {recalls[best]:.3f}'
        )
    return (
        f'{num_near} boxes in range, but false positives and switches outweigh the matches'
        ' at every recall'
    )


def write_result(folder: str | Path, result: TrackingResult) -> None:
    """Write ``metrics_summary.json`` and ``metrics_details.json``; NaN becomes null."""
    write_json(Path(folder) / 'metrics_summary.json', _without_nan(result.summary), indent=2)
    write_json(Path(folder) / 'metrics_details.json', _without_nan(result.details))


def track_table(result: TrackingResult) -> str:
    """The metrics of every class and of all, as text; ``-`` where there is no ground truth."""
    labels = result.summary['label_metrics']
    rows = [['', *(name.upper() for name in METRICS)]]
    for label in sorted(labels['amota']):
        rows.append([label, *(_cell(name, labels[name][label]) for name in METRICS)])
    rows.append(['all', *(_cell(name, result.summary[name]) for name in METRICS)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """One line of the table."""
    cells = [f'{cell:>{width}}' for cell, width in zip(row[1:], widths[1:], strict=True)]
    return '  '.join([f'{row[0]:<{widths[0]}}', *cells])


def _cell(name: str, value: float) -> str:
    """A number as text."""
    if np.isnan(value):
        return '-'
    return f'{value:.0f}' if name in _COUNTS else f'{value:.3f}'


def _without_nan(content: Any) -> Any:
    """Nested containers with NaN (which JSON has not) replaced by None."""
    if isinstance(content, Mapping):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and np.isnan(content) else content
