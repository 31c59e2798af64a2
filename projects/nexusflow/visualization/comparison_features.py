# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Features on a comparison's page: t-SNE of every method, spectra, and their figures."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .charts import Series, line_chart
from .marks import MARKERS, Points, scatter_chart
from .page import cell, section, table
from .report import colors_of, legend, swatch

__all__ = ['feature_section']

_SYMBOLS = dict(zip(MARKERS, '○×□△', strict=True))


def feature_section(
    analyses: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str], colors: Mapping[str, str]
) -> str:
    """What tools/analyze.py found for each method.

    Args:
        analyses: Method to the content of its analysis.json.
        labels: Method to its name on the page.
        colors: Method to CSS colour.
    """
    if not analyses:
        return section('Features', '<p class="soft">No features were analysed.</p>')
    text = (
        '<p class="soft">Features of the validation set, of the first seed. Pooled: means over the raster of each'
        " head's feature, standardised jointly, which every method has; z: after NexusFlow's flows. Squared MMD and"
        ' CKA between tasks; effective rank of each task.</p>'
    )
    return section(
        'Features',
        text,
        _figures(analyses, labels, colors),
        _tsne_maps(analyses, labels),
        legend({name: {'label': labels[name]} for name in analyses}, colors),
        _scree_plots(analyses, colors),
    )


def _tasks(analyses: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return list(
        dict.fromkeys(t for a in analyses.values() for t in a['spaces']['pooled']['spectrum'])
    )


def _figures(
    analyses: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str], colors: Mapping[str, str]
) -> str:
    """MMD, CKA and effective rank, pooled and after the flows."""
    spaces = [s for s in ('pooled', 'z') if any(s in a['spaces'] for a in analyses.values())]
    columns = [
        (space, kind, of)
        for space in spaces
        for kind in ('mmd2', 'relative', 'cka', 'effective_rank')
        for of in dict.fromkeys(
            k for a in analyses.values() for k in a['spaces'].get(space, {}).get(kind, {})
        )
    ]
    names = {'mmd2': 'MMD²', 'relative': 'apart', 'cka': 'CKA', 'effective_rank': 'rank'}
    heads = [f'{space}: {names[kind]} {of}' for space, kind, of in columns]
    lines = [
        [cell('features', tag='th'), *(cell(html.escape(head), ['wrap'], 'th') for head in heads)]
    ]
    for name, analysis in analyses.items():
        values = [analysis['spaces'].get(s, {}).get(k, {}).get(of) for s, k, of in columns]
        cells = [cell('–' if value is None else f'{value:.3f}') for value in values]
        lines.append([cell(swatch(colors[name]) + html.escape(labels[name])), *cells])
    return table(lines)


def _tsne_maps(analyses: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str]) -> str:
    """One map a method: colour is the task, marker the city."""
    tasks = colors_of([f'{i}' for i in range(len(_tasks(analyses)) + 1)])
    of_task = dict(zip(_tasks(analyses), list(tasks.values())[1:], strict=True))
    cities = sorted({place for a in analyses.values() for place in a['places']})
    of_city = {city: MARKERS[i % len(MARKERS)] for i, city in enumerate(cities)}
    parts = []
    for space in ('pooled', 'z'):
        charts = [
            scatter_chart(f'{labels[name]} ({space})', points)
            for name, analysis in analyses.items()
            if (points := _points(analysis, space, of_task, of_city))
        ]
        figures = ''.join(f'<figure class="card">{chart}</figure>' for chart in charts)
        parts.append(f'<div class="grid">{figures}</div>')
    key = [f'<span>{swatch(color)}{html.escape(task)}</span>' for task, color in of_task.items()]
    key += [
        f'<span>{_SYMBOLS[m]} {html.escape(city)}</span>' for city, m in of_city.items() if city
    ]
    head = '<h3>t-SNE <span class="soft">of the same samples for each task</span></h3>'
    return f'{head}<p class="legend">{"".join(key)}</p>{"".join(parts)}'


def _points(
    analysis: Mapping[str, Any],
    space: str,
    of_task: Mapping[str, str],
    of_city: Mapping[str, str],
) -> list[Points]:
    """Marks of each task and city."""
    places, points = np.array(analysis['places']), []
    for task, xy in analysis['tsne'].get(space, {}).items():
        for city, marker in of_city.items():
            if (places == city).any():
                rows = np.asarray(xy, dtype=np.float64)[places == city]
                points.append(Points(of_task[task], marker, rows))
    return points


def _scree_plots(analyses: Mapping[str, Mapping[str, Any]], colors: Mapping[str, str]) -> str:
    """Shares of the variance along the principal axes: a chart a space and task, a line a method."""
    charts = []
    for space in ('pooled', 'embedding', 'z'):
        for task in _tasks(analyses):
            series = _spectra(analyses, space, task, colors)
            if series:
                title = f'spectrum, {space}, {task}'
                charts.append(line_chart(title, series, 'principal axis', log_scale=True))
    figures = ''.join(f'<figure class="card">{chart}</figure>' for chart in charts)
    return f'<div class="grid">{figures}</div>'


def _spectra(
    analyses: Mapping[str, Mapping[str, Any]], space: str, task: str, colors: Mapping[str, str]
) -> Sequence[Series]:
    """The spectra that have something above rounding errors."""
    out = []
    for name, analysis in analyses.items():
        shares = np.asarray(analysis['spaces'].get(space, {}).get('spectrum', {}).get(task, ()))
        shares = shares[shares > 1e-7]
        if len(shares):
            out.append(Series(colors[name], np.arange(1, len(shares) + 1), shares))
    return out
