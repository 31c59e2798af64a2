# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A comparison as Markdown, as CSV, and between markers of a README."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nexusflow.evaluation.functional.files import write_text

from .spec import Metric
from .summary import WHOLE, Row, Spread, metrics_of, states_of_code, summarise

__all__ = ['csv_text', 'figure_text', 'markdown', 'put_between_markers', 'remarks', 'share_text']

UNLABELLED = '†'


def figure_text(figure: Spread | None, digits: int = 3) -> str:
    """Mean and sample standard deviation; one seed is marked so.

    Example:
        >>> figure_text(Spread(0.21, 0.013, 3)), figure_text(Spread(0.21, None, 1))
        ('0.210 ± 0.013', '0.210 (n=1)')
    """
    if figure is None:
        return '–'
    if figure.std is None:
        return f'{figure.mean:.{digits}f} (n=1)'
    return f'{figure.mean:.{digits}f} ± {figure.std:.{digits}f}'


def share_text(row: Row, key: str, city: str = WHOLE) -> str:
    """Share of the gap closed in per cent; a dash where there is none to speak of."""
    share = row.shares.get((key, city))
    if share is None:
        return ''
    return 'undefined' if share.value is None else f'{100 * share.value:.0f} %'


def delta_text(row: Row) -> str:
    """Mean relative gain over the baseline."""
    return '–' if row.delta is None else f'{row.delta:+.1f} %'


def markdown(results: Mapping[str, Any], command: str = '') -> str:
    """The comparison as Markdown: the headline figures, then the cities, then remarks.

    Args:
        results: As :func:`nexusflow.engine.comparison.collect` gives them.
        command: The command that makes it; quoted below.
    """
    rows = [row for row in summarise(results) if row.done]
    metrics = [metric for metric in metrics_of(results) if metric.headline]
    parts = [_headline_table(rows, metrics, results)]
    if results['cities']:
        parts.append(_city_table(rows, metrics, results))
    parts += [f'- {remark}' for remark in remarks(results)]
    if command:
        parts.append(f'\nMade by `{command}`.')
    # blank lines around tables, none between remarks
    text = '\n\n'.join(parts[: 1 + bool(results['cities'])])
    return text + '\n\n' + '\n'.join(parts[1 + bool(results['cities']) :]) + '\n'


def _headline_table(
    rows: Sequence[Row], metrics: Sequence[Metric], results: Mapping[str, Any]
) -> str:
    head = ['method', 'seeds']
    for metric in metrics:
        head += [f'{metric.label} {"↑" if metric.more else "↓"}', 'gap closed']
    head += ['Δ to the baseline'] if results['delta'] else []
    timed = any(row.time_ratio is not None for row in rows)
    head += [*(['step time'] if timed else []), 'peak memory', 'parameters (inference)']
    analyses = [
        (label, name)
        for label, name in (('MMD² ↓', 'mmd2'), ('z apart ↓', 'relative'))
        if any(getattr(row, name) is not None for row in rows)
    ]
    head += [label for label, _ in analyses]
    body = []
    for row in rows:
        cells = [row.label, _seeds(row)]
        for metric in metrics:
            figure = row.figures.get((metric.key, WHOLE))
            cells += [figure_text(figure, metric.digits), share_text(row, metric.key)]
        cells += [delta_text(row)] if results['delta'] else []
        cells += [_ratio(row.time_ratio)] if timed else []
        cells += [_memory(row.peak_mb), _parameters(row)]
        cells += [_analysis(getattr(row, name)) for _, name in analyses]
        body.append((row.group, cells))
    return _table(head, body)


def _city_table(rows: Sequence[Row], metrics: Sequence[Metric], results: Mapping[str, Any]) -> str:
    columns = [
        (metric, city)
        for metric in metrics
        for city, places in results['cities'].items()
        if metric.task in places
    ]
    head = ['method', *(f'{metric.label}, {city}' for metric, city in columns)]
    body = []
    for row in rows:
        cells = [row.label]
        for metric, city in columns:
            text = figure_text(row.figures.get((metric.key, city)), metric.digits)
            share = share_text(row, metric.key, city)
            closed = f', {share}' if share.endswith('%') else ''
            mark = UNLABELLED if is_unlabelled(row, metric, city) else ''
            cells.append(f'{text}{mark}{closed}')
        body.append((row.group, cells))
    return _table(head, body)


def is_unlabelled(row: Row, metric: Metric, city: str) -> bool:
    """Whether the method was trained without labels of the metric's task from the city."""
    labelled = row.labels.get(metric.task)
    return labelled is not None and city != WHOLE and city not in labelled


def remarks(results: Mapping[str, Any]) -> list[str]:
    """What a reader must know: how to read it, undefined gaps, missing runs, different code."""
    rows = summarise(results)
    out = [
        'Last iteration; mean ± sample standard deviation over the training seeds, data of one seed; '
        '(n=1): one seed, no spread. Gap closed: (method − baseline) / (full − baseline) of the means '
        'over the seeds that all three have. Memory: largest of the training process.'
    ]
    if any(row.time_ratio is not None for row in rows):
        out.append("Step time: mean, over the baseline's of the same seeds on the same machine.")
    if results['cities']:
        out.append(
            f'{UNLABELLED}: trained without labels of that task from that city; behind it the share of '
            'the gap closed in that city.'
        )
    if results['delta']:
        out.append('Δ: mean of the relative gains in the headline metrics over the baseline.')
    if any(row.relative is not None for row in rows):
        out.append(
            "z apart: mean squared distance of the two tasks' embeddings of one sample over that of two samples, after "
            'the flows, validation set, first seed: 0 where they agree, 1 where nothing is aligned.'
        )
    undefined = {
        (metric.label, share.reason)
        for row in rows
        for metric in metrics_of(results)
        if metric.headline
        and row.done
        and (share := row.shares.get((metric.key, WHOLE)))
        and share.value is None
    }
    out += [f'Gap of {label} undefined: {reason}.' for label, reason in sorted(undefined)]
    out += [_small_gap(metric, results, rows) for metric in metrics_of(results) if metric.headline]
    missing = [
        f'{row.label} seed {", ".join(seeds)} ({why})'
        for row in rows
        for why, seeds in _by_reason(row.missing).items()
    ]
    out += [f'Missing: {"; ".join(missing)}.'] if missing else []
    states = states_of_code(results)
    if len(states) > 1:
        texts = [f'{code} ({len(runs)} runs)' for code, runs in sorted(states.items())]
        out.append(f'The runs were made with different states of the code: {", ".join(texts)}.')
    return [remark for remark in out if remark]


def _small_gap(metric: Metric, results: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """A warning where the main methods' gap is not larger than the spread at its ends."""
    by_name, key = {row.name: row for row in rows}, (metric.key, WHOLE)
    ends = {(m['baseline'], m['reference']) for m in results['methods'].values() if not m['group']}
    texts = []
    for names in sorted(ends):
        begin, end = (by_name[name].figures.get(key) for name in names)
        if begin and end and abs(end.mean - begin.mean) <= max(begin.std or 0.0, end.std or 0.0):
            texts.append(
                f'The gap of {metric.label} ({end.mean - begin.mean:+.{metric.digits}f}) is not larger than the spread'
                ' over the seeds: its shares say little.'
            )
    return ' '.join(texts)


def _by_reason(missing: Mapping[str, str]) -> dict[str, list[str]]:
    """Reason to the seeds that are missing for it."""
    out: dict[str, list[str]] = {}
    for seed, reason in missing.items():
        out.setdefault(reason, []).append(seed)
    return out


def csv_text(results: Mapping[str, Any]) -> str:
    """All figures, one method a line, numbers unrounded; cells without a figure are empty."""
    keys = [
        (metric, city)
        for metric in metrics_of(results)
        for city in (WHOLE, *results['cities'])
        if city == WHOLE or metric.task in results['cities'][city]
    ]
    head = ['method', 'label', 'group', 'seeds', 'planned_seeds']
    for metric, city in keys:
        name = f'{metric.key} {city}'
        head += [f'{name} mean', f'{name} std', f'{name} n', f'{name} gap_closed']
    costs = (
        'delta',
        'step_s',
        'time_ratio',
        'peak_mb',
        'parameters',
        'parameters_inference',
        'mmd2',
        'relative',
    )
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow([*head, *costs])
    for row in summarise(results):
        line: list[Any] = [row.name, row.label, row.group, row.done, row.planned]
        for metric, city in keys:
            figure = row.figures.get((metric.key, city), (None, None, 0))
            share = row.shares.get((metric.key, city))
            line += [*figure, share.value if share else None]
        writer.writerow([*line, *(getattr(row, cost) for cost in costs)])
    return stream.getvalue()


def put_between_markers(path: str | Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- compare:NAME -->`` and ``<!-- /compare:NAME -->``.

    Raises:
        ValueError: The file has no such pair, or several.
    """
    before = Path(path).read_text(encoding='utf-8')
    first, last = f'<!-- compare:{name} -->', f'<!-- /compare:{name} -->'
    pattern = re.compile(f'{re.escape(first)}.*?{re.escape(last)}', re.DOTALL)
    if len(pattern.findall(before)) != 1:
        raise ValueError(f"{path}: needs one line '{first}' and below it one line '{last}'")
    write_text(path, pattern.sub(lambda _: f'{first}\n{text.strip()}\n{last}', before))


def _table(head: Sequence[str], body: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A Markdown table; a new group starts with a line of its name."""
    lines = [_line(head), _line(['---', *['---:'] * (len(head) - 1)])]
    before = ''
    for group, cells in body:
        if group != before:
            lines.append(_line([f'*{group}*', *[''] * (len(head) - 1)]))
            before = group
        lines.append(_line(cells))
    return '\n'.join(lines)


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cell.replace("|", "/") for cell in cells)} |'


def _seeds(row: Row) -> str:
    return str(row.done) if row.done == row.planned else f'{row.done} of {row.planned}'


def _ratio(value: float | None) -> str:
    return '–' if value is None else f'{value:.2f}x'


def _analysis(value: float | None) -> str:
    return '–' if value is None else f'{value:.3f}'


def _memory(megabytes: float | None) -> str:
    return '–' if megabytes is None else f'{megabytes:.0f} MiB'


def _parameters(row: Row) -> str:
    if row.parameters is None or row.parameters_inference is None:
        return '–'
    return f'{row.parameters / 1e6:.2f} M ({row.parameters_inference / 1e6:.2f} M)'
