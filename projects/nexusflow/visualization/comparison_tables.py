# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Tables and the chart of the closed gap on a comparison's page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from nexusflow.engine.comparison.spec import Metric
from nexusflow.engine.comparison.summary import WHOLE, Row, metrics_of
from nexusflow.engine.comparison.tables import delta_text, figure_text, is_unlabelled, share_text

from .marks import DotRow, dot_chart
from .page import cell, section, table
from .report import swatch

__all__ = ['cost_section', 'figure_section', 'gap_section']


def figure_section(
    rows: Sequence[Row], results: Mapping[str, Any], colors: Mapping[str, str]
) -> str:
    """One table for all cities together and one for each: methods down, metrics across."""
    parts = []
    for city in (WHOLE, *results['cities']):
        columns = [
            metric
            for metric in metrics_of(results)
            if any((metric.key, city) in row.figures for row in rows)
        ]
        title = 'whole validation set' if city == WHOLE else city
        lines = [_head(title, columns)]
        for i, row in enumerate(rows):
            if row.group and (i == 0 or rows[i - 1].group != row.group):
                lines.append([cell(html.escape(row.group), ['group'], 'th', len(columns) + 1)])
            rivals = [r for r in rows if r.group == row.group and r.shares]
            cells = [_figure(row, metric, city, rivals) for metric in columns]
            lines.append([cell(swatch(colors[row.name]) + html.escape(row.label)), *cells])
        parts.append(table(lines))
    note = (
        '<p class="soft">Mean ± sample standard deviation over training seeds; (n=1): one seed, no spread. ↓: less'
        ' is better. <b>Bold</b>: best mean of the methods compared in its part of the table, baseline and upper'
        ' bound left out. <span style="background:#fff6e5;padding:0 4px">Tinted</span>: trained without labels of'
        ' that task from that city.</p>'
    )
    return section('Results', *parts, note)


def _head(title: str, columns: Sequence[Metric]) -> list[str]:
    labels = [metric.label if metric.more else f'{metric.label} ↓' for metric in columns]
    cells = [cell(html.escape(text), _edge(columns, i), 'th') for i, text in enumerate(labels)]
    return [cell(html.escape(title), tag='th'), *cells]


def _edge(columns: Sequence[Metric], i: int) -> list[str]:
    """The class of a column where another task begins."""
    return ['edge'] if i == 0 or columns[i - 1].task != columns[i].task else []


def _figure(row: Row, metric: Metric, city: str, rivals: Sequence[Row]) -> str:
    """A cell; the best of its rivals is bold, one without labels tinted."""
    key = (metric.key, city)
    means = [round(r.figures[key].mean, metric.digits) for r in rivals if key in r.figures]
    classes = ['unseen'] if is_unlabelled(row, metric, city) else []
    if row in rivals and key in row.figures and len(means) > 1:
        best = max(means) if metric.more else min(means)
        classes += ['best'] if round(row.figures[key].mean, metric.digits) == best else []
    mean, *behind = figure_text(row.figures.get(key), metric.digits).split(' ', 1)
    return cell(mean + ''.join(f'<span class="below">{text}</span>' for text in behind), classes)


def gap_section(rows: Sequence[Row], results: Mapping[str, Any], colors: Mapping[str, str]) -> str:
    """Charts of the closed share: whole, and in the cities where the task has no labels."""
    charts = []
    for metric in (m for m in metrics_of(results) if m.headline):
        for city in (WHOLE, *results['cities']):
            shown = [row for row in rows if _has_share(row, metric, city)]
            if shown:
                where = 'whole validation set' if city == WHOLE else city
                dots = [_dots(row, metric, city, colors[row.name]) for row in shown]
                chart = dot_chart(
                    f'{metric.label}, {where}', dots, 'share of the gap closed', (0.0, 100.0)
                )
                charts.append(f'<figure class="card">{chart}</figure>')
    text = (
        '<p class="soft">(method − baseline) / (full − baseline): 0 % is the baseline, 100 % the upper bound. A dot is'
        ' a seed, a stroke the mean; both over the gap of the means. A city is shown where the method had no labels of'
        ' the task. No chart: the gap is not there, or not yet measured.</p>'
    )
    return section('Share of the gap closed', text, *charts)


def _has_share(row: Row, metric: Metric, city: str) -> bool:
    share = row.shares.get((metric.key, city))
    wanted = city == WHOLE or is_unlabelled(row, metric, city)
    return wanted and share is not None and share.value is not None


def _dots(row: Row, metric: Metric, city: str, color: str) -> DotRow:
    share = row.shares[metric.key, city]
    label = f'{row.label} (n=1)' if len(share.per_seed) == 1 else row.label
    values = [100 * value for value in share.per_seed]
    return DotRow(label, color, values, 100 * (share.value or 0.0))


def cost_section(rows: Sequence[Row], results: Mapping[str, Any]) -> str:
    """Seeds, shares in numbers, time, memory and parameters."""
    metrics = [metric for metric in metrics_of(results) if metric.headline]
    names = [f'gap, {metric.label}' for metric in metrics]
    names += ['Δ to the baseline'] if results['delta'] else []
    names += ['seeds', 's/step', 'ratio', 'MiB', 'M params', 'M at inference']
    heads = [cell(html.escape(name), ['wrap'], 'th') for name in names]
    lines = [[cell('gap closed and cost', tag='th'), *heads]]
    for row in rows:
        cells = [share_text(row, metric.key) or '–' for metric in metrics]
        cells += [delta_text(row)] if results['delta'] else []
        cells += [f'{row.done}/{row.planned}', _text(row.step_s, 2), _text(row.time_ratio, 2)]
        cells += [
            _text(row.peak_mb, 0),
            _millions(row.parameters),
            _millions(row.parameters_inference),
        ]
        lines.append([cell(html.escape(row.label)), *map(cell, cells)])
    note = (
        '<p class="soft">Median time of a training step, loading included, and over the baseline\'s; largest memory of'
        ' the training process (on a GPU what torch allocated).</p>'
    )
    return section('Cost', table(lines), note)


def _text(value: float | None, digits: int) -> str:
    return '–' if value is None else f'{value:.{digits}f}'


def _millions(value: int | None) -> str:
    return '–' if value is None else f'{value / 1e6:.2f}'
