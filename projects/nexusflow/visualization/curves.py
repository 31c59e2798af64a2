# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What mmengine logged during a training, as curves."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .charts import Series, line_chart

__all__ = ['curve_charts', 'read_scalars']

_ALIGNMENT = re.compile(r'align|mmd|sinkhorn|cka|round_trip', re.IGNORECASE)
_VALIDATION = ('map/mAP', 'track/AMOTA')


def read_scalars(work_dir: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """All records of a work directory (``<time>/vis_data/scalars.json``), in the order of writing.

    Runs that were resumed follow each other. A last line cut off by a killed process is left out.

    Args:
        work_dir: The ``--work-dir`` of a training.

    Returns:
        One mapping per logged step; empty when nothing was logged.
    """
    records = []
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return records


def _column(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> tuple[Any, Any]:
    """Steps at which any of ``names`` was logged, and the sum of those."""
    found = {}
    for record in records:
        values = [record[name] for name in names if isinstance(record.get(name), int | float)]
        if values:
            found[record['step']] = float(sum(values))
    steps = sorted(found)
    return np.array(steps, dtype=np.float64), np.array([found[step] for step in steps])


def _groups(records: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Chart title to the names of the training scalars that it sums."""
    names = {name for record in records if 'lr' in record or 'loss' in record for name in record}
    groups = {'total loss': ['loss'] if 'loss' in names else []}
    tasks = {match[1] for name in names if (match := re.match(r'loss_([a-z0-9]+)_', name))}
    for task in sorted(tasks):
        groups[f'loss of task {task}'] = sorted(n for n in names if n.startswith(f'loss_{task}_'))
    rest = [name for name in names if _ALIGNMENT.search(name)]
    plain = sorted(name for name in rest if not re.match(r'loss_[a-z0-9]+_', name))
    groups |= {name.replace('_', ' '): [name] for name in plain}
    groups['learning rate'] = ['lr'] if 'lr' in names else []
    return {title: members for title, members in groups.items() if members}


def curve_charts(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], colors: Mapping[str, str]
) -> list[str]:
    """Charts that compare trainings: losses per task, alignment, learning rate, validation.

    Args:
        runs: Method to its records (:func:`read_scalars`).
        colors: Method to CSS colour.

    Returns:
        One ``<svg>`` per quantity that any method logged; validations only if there were several.
    """
    everything = [record for records in runs.values() for record in records]
    charts = []
    for title, names in _groups(everything).items():
        series = []
        for method, records in runs.items():
            x, y = _column([r for r in records if 'lr' in r or 'loss' in r], names)
            series += [Series(colors[method], x, y)] if np.isfinite(y).any() else []
        if series:
            charts.append(line_chart(title, series, log_scale=_wide(series)))
    for name in _VALIDATION:
        series = []
        for method, records in runs.items():
            x, y = _column(records, [name])
            series += [Series(colors[method], x, y)] if np.isfinite(y).any() else []
        if any(len(line.x) > 1 for line in series):
            title = f'{name.split("/")[1]} on the validation set'
            charts.append(line_chart(title, series, 'epoch or iteration', from_zero=True))
    return charts


def _wide(series: Sequence[Series]) -> bool:
    """Whether the values are positive and span more than a factor of 30."""
    values = np.concatenate([line.y for line in series])
    values = values[np.isfinite(values)]
    return bool(values.min() > 0 and values.max() > 30 * values.min())
