# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The report of a comparison: one HTML page that needs nothing beside itself."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nexusflow.evaluation.functional.files import write_text

from .curves import curve_charts, diagnostic_charts, read_scalars
from .gallery import Gallery
from .page import cell, inline_image, page, section, table

__all__ = ['colors_of', 'legend', 'pictures', 'swatch', 'training_curves', 'write_report']

_COLORS = (
    '#64748b', '#2563eb', '#0f766e', '#c2410c', '#7c3aed', '#be185d', '#ca8a04',
    '#0891b2', '#65a30d', '#dc2626', '#4338ca', '#92400e', '#db2777', '#166534',
)  # fmt: skip

_COLUMNS: tuple[tuple[str, str, str, int, bool], ...] = (
    ('mAP', 'map', 'mAP', 3, True),
    ('AP_divider', 'map', 'divider', 3, True),
    ('AP_ped_crossing', 'map', 'crossing', 3, True),
    ('AP_boundary', 'map', 'boundary', 3, True),
    ('AMOTA', 'track', 'AMOTA', 3, True),
    ('AMOTP', 'track', 'AMOTP', 3, False),
    ('RECALL', 'track', 'recall', 3, True),
    ('IDS', 'track', 'IDS', 0, False),
)
"""Metric, its task, its name in the table, digits, and whether more is better."""


def write_report(
    path: str | os.PathLike[str],
    demo_result: Mapping[str, Any],
    samples_per_city: int = 2,
    map_score: float = 0.3,
    box_score: float = 0.3,
) -> Path:
    """Write the report page.

    Args:
        path: The HTML file; written atomically.
        demo_result: What was done and what came out. Everything but ``methods`` may be missing::

                title: str
                subtitle: str
                data_root: folder that the image paths of the info file start from
                info_file: the info file that was tested on; without it there are no pictures
                methods: {method: {
                    label: str, its title on the page (default: the key)
                    metrics: {city: {metric: float or None}}, 'all' and each city, as
                        metrics_by_city gives it and metrics.json holds it
                    work_dir: folder of its training (``*/vis_data/scalars.json``), for the curves
                    map_file: NexusMapMetric's out_file
                    tracking_file: NexusTrackMetric's tracking_submission.json
                    labels: {task: [city, ...]} that it was trained with; cities left out are marked
                        in the table. Without it the task counts as labelled everywhere
                    reference: bool, an upper bound that is not compared for the best figure
                    seed: int
                    seconds: float, training and evaluation
                }}
                commands: [str], what was run, in order
                seconds: float, all of it
                seeds: [int]
                machine: str
                versions: {package: version}
        samples_per_city: Pictures of each city.
        map_score: Lowest score of a map line in the pictures.
        box_score: Lowest score of a box in the pictures.

    Returns:
        The path of the page.

    Raises:
        ValueError: No methods.
    """
    methods = demo_result.get('methods') or {}
    if not methods:
        raise ValueError(
            "write_report: demo_result['methods'] is empty, there is nothing to report"
        )
    colors = colors_of(methods)
    sections = [_results(methods, colors), training_curves(methods, colors)]
    if demo_result.get('info_file'):
        gallery = Gallery(
            demo_result['info_file'],
            demo_result.get('data_root') or Path(demo_result['info_file']).parent,
            {_label(methods, n): m for n, m in methods.items() if _has_results(m)},
            map_score,
            box_score,
        )
        sections.append(pictures(gallery, samples_per_city))
    sections.append(_what_was_run(demo_result, methods))
    title = demo_result.get('title', 'NexusFlow: map and tracks from partial labels')
    return write_text(path, page(title, demo_result.get('subtitle', ''), sections))


def colors_of(names: Iterable[str]) -> dict[str, str]:
    """A CSS colour for each name."""
    return {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(names)}


def swatch(color: str) -> str:
    """A small square of a colour."""
    return f'<i class="swatch" style="background:{color}"></i>'


def _label(methods: Mapping[str, Mapping[str, Any]], name: str) -> str:
    return str(methods[name].get('label', name))


def _has_results(method: Mapping[str, Any]) -> bool:
    return bool(method.get('map_file') or method.get('tracking_file'))


def _cities(methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """'all' first, then the cities in alphabetical order."""
    found = {city for method in methods.values() for city in method.get('metrics', {})}
    return [city for city in ('all',) if city in found] + sorted(found - {'all'})


def _value(method: Mapping[str, Any], city: str, metric: str) -> float | None:
    value = method.get('metrics', {}).get(city, {}).get(metric)
    return None if value is None or value != value else float(value)


def _known(methods: Mapping[str, Mapping[str, Any]], city: str, metric: str) -> bool:
    return any(_value(method, city, metric) is not None for method in methods.values())


def _results(methods: Mapping[str, Mapping[str, Any]], colors: Mapping[str, str]) -> str:
    """One table per city: methods down, metrics across."""
    parts = []
    cities = _cities(methods)
    columns = [c for c in _COLUMNS if any(_known(methods, city, c[0]) for city in cities)]
    for city in cities:
        title = 'whole validation set' if city == 'all' else city
        rows = [_head(title, columns)]
        for name, method in methods.items():
            row = [cell(swatch(colors[name]) + html.escape(_label(methods, name)))]
            for i, column in enumerate(columns):
                classes = _marks(methods, name, city, column)
                classes += ['edge'] if i == 0 or columns[i - 1][1] != column[1] else []
                value = _value(method, city, column[0])
                row.append(cell('–' if value is None else f'{value:.{column[3]}f}', classes))
            rows.append(row)
        parts.append(table(rows))
    note = (
        '<p class="soft">Map: average precision under the Chamfer distance (0.5, 1.0, 1.5 m; MapTR). Tracks:'
        ' official nuScenes evaluation. For AMOTP and IDS less is better. <b>Bold</b>: best of the methods'
        ' compared, upper bounds left out. <span style="background:#fff6e5;padding:0 4px">Tinted</span>: the'
        ' method was trained without labels of that task from that city. A dash: no ground truth.</p>'
    )
    return section('Results', *parts, note)


def _head(title: str, columns: Sequence[tuple[str, str, str, int, bool]]) -> list[str]:
    """Head row of a table."""
    row = [cell(html.escape(title), tag='th')]
    for i, column in enumerate(columns):
        first = i == 0 or columns[i - 1][1] != column[1]
        row.append(cell(html.escape(column[2]), ['edge'] if first else [], 'th'))
    return row


def _marks(
    methods: Mapping[str, Mapping[str, Any]],
    name: str,
    city: str,
    column: tuple[str, str, str, int, bool],
) -> list[str]:
    """Classes of a figure: best of its column, or of a city without labels."""
    metric, task, _, digits, more = column
    marks = []
    labelled = methods[name].get('labels', {}).get(task)
    if labelled is not None and city != 'all' and city not in labelled:
        marks.append('unseen')
    rivals = [_value(m, city, metric) for m in methods.values() if not m.get('reference')]
    values = [round(value, digits) for value in rivals if value is not None]
    mine = _value(methods[name], city, metric)
    if len(values) > 1 and mine is not None and not methods[name].get('reference'):
        best = max(values) if more else min(values)
        marks += ['best'] if round(mine, digits) == best else []
    return marks


def legend(methods: Mapping[str, Mapping[str, Any]], colors: Mapping[str, str]) -> str:
    """Each method's colour and label."""
    entries = [
        f'<span>{swatch(colors[name])}{html.escape(_label(methods, name))}</span>'
        for name in methods
    ]
    return f'<p class="legend">{"".join(entries)}</p>'


def training_curves(
    methods: Mapping[str, Mapping[str, Any]], colors: Mapping[str, str], title: str = 'Training'
) -> str:
    """Charts of all trainings."""
    runs = {name: read_scalars(m['work_dir']) for name, m in methods.items() if m.get('work_dir')}
    charts = curve_charts(runs, colors)
    if not charts:
        return section(title, '<p class="soft">No training was logged.</p>')
    parts = [legend(methods, colors), _grid(charts)]
    diagnostics = diagnostic_charts(runs, colors)
    if diagnostics:
        head = '<summary>Diagnostics of the alignment</summary>'
        parts.append(f'<details>{head}{_grid(diagnostics)}</details>')
    return section(title, *parts)


def _grid(charts: Sequence[str]) -> str:
    """Charts on cards, as many in a row as fit."""
    figures = ''.join(f'<figure class="card">{chart}</figure>' for chart in charts)
    return f'<div class="grid">{figures}</div>'


def pictures(gallery: Gallery, per_city: int) -> str:
    """Views from above beside each other, under the cameras."""
    parts = [
        '<p class="soft">Validation roads that no method has seen. Seen from above, forward is up; the frame is the'
        ' range in which the map is judged. Dividers orange, crossings blue, boundaries green; the colour of'
        ' a box is its identity, with its way over the last 3 s. The cameras show the ground truth.</p>'
    ]
    for item in gallery.draw(per_city):
        figures = ''.join(
            f'<figure><figcaption>{html.escape(title)}</figcaption>'
            f'{inline_image(view, f"{title}, {item.title}")}</figure>'
            for title, view in item.views
        )
        cameras = inline_image(item.cameras, f'six cameras, {item.title}', '.jpg')
        head = (
            f'<h3>{html.escape(item.city)} <span class="soft">{html.escape(item.title)}</span></h3>'
        )
        parts.append(f'{head}<div class="card">{cameras}<div class="views">{figures}</div></div>')
    return section('Pictures', *parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes} min {rest:02d} s' if minutes else f'{rest} s'


def _what_was_run(result: Mapping[str, Any], methods: Mapping[str, Mapping[str, Any]]) -> str:
    """Times, seeds, versions and commands."""
    facts = [(f'time, {_label(methods, n)}', m.get('seconds')) for n, m in methods.items()]
    rows = [(name, _duration(value)) for name, value in facts if value is not None]
    if result.get('seconds') is not None:
        rows.append(('time, everything', _duration(result['seconds'])))
    seeds = result.get('seeds') or sorted({m['seed'] for m in methods.values() if 'seed' in m})
    rows.append(('seeds', ', '.join(map(str, seeds)) or 'not recorded'))
    rows += [('machine', str(result['machine']))] if result.get('machine') else []
    versions = result.get('versions') or {}
    rows += [('versions', ', '.join(f'{k} {v}' for k, v in versions.items()))] if versions else []
    cells = [[cell(html.escape(a)), cell(html.escape(b))] for a, b in rows]
    commands = '\n'.join(map(str, result.get('commands') or ()))
    block = f'<div class="card"><pre>{html.escape(commands)}</pre></div>' if commands else ''
    return section('What was run', table(cells), block)
