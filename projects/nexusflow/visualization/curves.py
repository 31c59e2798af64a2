# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What mmengine logged during a training, as curves."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .charts import Series, line_chart

__all__ = ['curve_charts', 'diagnostic_charts', 'read_scalars']

_ALIGNMENT = re.compile(r'align|mmd|sinkhorn|cka|round_trip', re.IGNORECASE)
_VALIDATION = ('map/mAP', 'track/AMOTA')
_DIAGNOSTIC = 'align/'
_FAMILIES = {
    'distance to the centre': 'distance',
    'MMD² of z': 'mmd_(.+)',
    'CKA of z': 'cka_(.+)',
    'effective rank of h': 'rank_h_(.+)',
    'effective rank of z': 'rank_z_(.+)',
    'standard deviation of h': 'std_h_(.+)',
    'standard deviation of z': 'std_z_(.+)',
    'largest share of the variance of h': 'top_h_(.+)',
    'largest share of the variance of z': 'top_z_(.+)',
    'cosine between gradients': 'cos_(.+)',
    'length of the gradient': 'gradient_(.+)',
    'sides of Lemma 1': 'lemma_(.+)',
    "Lipschitz constant of the flow's inverse": 'lipschitz_(.+)',
    'round trip error': 'round_trip_(.+)',
}
"""Chart to the diagnostics on it, a line for each task or pair of tasks."""
_DASHES = ('', '7 4', '2 3', '9 3 2 3', '9 3 2 3 2 3', '14 5')


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


def _lines(
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    colors: Mapping[str, str],
    names: Sequence[str],
    dash: str = '',
) -> list[Series]:
    """A line of the sum of ``names`` for each method that logged it."""
    lines = [
        Series(colors[method], *_column(records, names), dash) for method, records in runs.items()
    ]
    return [line for line in lines if np.isfinite(line.y).any()]


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
    trained = {
        method: [record for record in records if 'lr' in record or 'loss' in record]
        for method, records in runs.items()
    }
    charts = []
    for title, names in _groups(everything).items():
        series = _lines(trained, colors, names)
        if series:
            charts.append(line_chart(title, series, log_scale=_wide(series)))
    for name in _VALIDATION:
        series = _lines(runs, colors, [name])
        if any(len(line.x) > 1 for line in series):
            title = f'{name.split("/")[1]} on the validation set'
            charts.append(line_chart(title, series, 'epoch or iteration', from_zero=True))
    return charts


def diagnostic_charts(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], colors: Mapping[str, str]
) -> list[str]:
    """Charts of what ``NexusDiagnosticsHook`` wrote, in records of their own, named ``align/...``.

    Args:
        runs: Method to its records (:func:`read_scalars`).
        colors: Method to CSS colour.

    Returns:
        HTML, one ``<svg>`` per quantity; where it has several lines a method, with a key of their dashes.
    """
    names = {name for records in runs.values() for record in records for name in record}
    families: dict[str, dict[str, str]] = {title: {} for title in _FAMILIES}
    for name in sorted(name for name in names if name.startswith(_DIAGNOSTIC)):
        title, member = _family(name.removeprefix(_DIAGNOSTIC))
        families.setdefault(title, {})[member] = name
    charts = []
    for title, members in families.items():
        dashes = {member: _DASHES[i % len(_DASHES)] for i, member in enumerate(members)}
        series = [
            line
            for member, name in members.items()
            for line in _lines(runs, colors, [name], dashes[member])
        ]
        if series:
            charts.append(line_chart(title, series, log_scale=_wide(series)) + _key(dashes))
    return charts


def _family(name: str) -> tuple[str, str]:
    """Chart of a diagnostic and its member there; one that is not known has a chart of its own."""
    for title, pattern in _FAMILIES.items():
        match = re.fullmatch(pattern, name)
        if match is not None:
            return title, ' '.join(match.groups()).replace('_', ' ')
    return name, ''


def _key(dashes: Mapping[str, str]) -> str:
    """Which dashes are which member; a single one needs none."""
    if len(dashes) < 2:
        return ''
    strokes = ''.join(
        '<span><svg viewBox="0 0 30 6" class="stroke"><path d="M0 3H30" stroke="currentColor"'
        f' stroke-width="2" stroke-dasharray="{dash}"/></svg>{html.escape(member)}</span> '
        for member, dash in dashes.items()
    )
    return f'<figcaption class="legend">{strokes}</figcaption>'


def _wide(series: Sequence[Series]) -> bool:
    """Whether the values are positive and span more than a factor of 30."""
    values = np.concatenate([line.y for line in series])
    values = values[np.isfinite(values)]
    return bool(values.min() > 0 and values.max() > 30 * values.min())
