# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The page of a comparison: what is in its results and its runs' folders, on one HTML page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from nexusflow.engine.comparison.summary import Row, states_of_code, summarise
from nexusflow.engine.comparison.tables import remarks
from nexusflow.evaluation.functional.files import read_json, write_text

from .comparison_features import feature_section
from .comparison_tables import cost_section, figure_section, gap_section
from .gallery import Gallery
from .page import cell, page, section, table
from .report import colors_of, pictures, training_curves

__all__ = ['write_comparison']


def write_comparison(
    path: str | Path,
    results: Mapping[str, Any],
    work_dir: str | Path,
    picture_files: Mapping[str, str] | None = None,
    data_root: str | Path | None = None,
    command: str = '',
) -> Path:
    """Write the page.

    Args:
        path: The HTML file; written atomically.
        results: As :func:`nexusflow.engine.comparison.collect` gives them.
        work_dir: Folder that the runs' folders start from; what is not there is left out.
        picture_files: ``info_file`` below the data root, ``map_file`` and ``tracking_file`` below a
            run's folder; without it there are no pictures.
        data_root: Folder of the data.
        command: What makes it.

    Returns:
        The path of the page.

    Raises:
        ValueError: No run is finished.
    """
    rows = [row for row in summarise(results) if row.done]
    if not rows:
        raise ValueError(f'{results["name"]}: no run is finished, there is nothing to report')
    colors = colors_of(results['methods'])
    first = _first_runs(rows, results, Path(work_dir))
    files = {
        name: Path(run['work_dir']) / 'analysis' / 'analysis.json'
        for name, run in first.items()
        if run['analysed']
    }
    analyses = {name: read_json(file) for name, file in files.items() if file.exists()}
    sections = [
        figure_section(rows, results, colors),
        gap_section(rows, results, colors),
        cost_section(rows, results),
        *_curves(rows, first, colors),
        feature_section(analyses, {row.name: row.label for row in rows}, colors),
    ]
    if picture_files and data_root and (Path(data_root) / picture_files['info_file']).exists():
        sections.append(_pictures(rows, first, picture_files, Path(data_root)))
    sections.append(_what_was_run(results, command))
    subtitle = 'last iteration; data of one seed, training seeds vary'
    return write_text(path, page(results['title'], subtitle, sections))


def _first_runs(
    rows: Sequence[Row], results: Mapping[str, Any], work_dir: Path
) -> dict[str, dict[str, Any]]:
    """The folder and label of each method's first finished run here, for the parts that show one run."""
    out = {}
    for row in rows:
        runs = results['methods'][row.name]['runs']
        seed = min((seed for seed, run in runs.items() if run['folders']), key=int, default=None)
        if seed is not None:
            out[row.name] = {
                'label': row.label,
                'work_dir': str(work_dir / runs[seed]['folders'][0]),
                'seed': int(seed),
                'analysed': 'analysis' in runs[seed],
            }
    return out


def _curves(
    rows: Sequence[Row], first: Mapping[str, Mapping[str, Any]], colors: Mapping[str, str]
) -> list[str]:
    """Training curves, a section for each part of the table."""
    parts = []
    for group, members in groupby(rows, key=lambda row: row.group):
        title = f'Training: {group}' if group else 'Training'
        runs = {row.name: first[row.name] for row in members if row.name in first}
        parts += [training_curves(runs, colors, title)] if runs else []
    return parts


def _pictures(
    rows: Sequence[Row],
    first: Mapping[str, Mapping[str, Any]],
    files: Mapping[str, str],
    data_root: Path,
) -> str:
    """Views from above of the methods of the table's first part."""
    found = {}
    for row in (row for row in rows if row.name in first and row.group == rows[0].group):
        folder = Path(first[row.name]['work_dir'])
        paths = {key: folder / files[key] for key in ('map_file', 'tracking_file')}
        if all(path.exists() for path in paths.values()):
            found[row.label] = paths
    gallery = Gallery(data_root / files['info_file'], data_root, found)
    return pictures(gallery, per_city=2)


def _what_was_run(results: Mapping[str, Any], command: str) -> str:
    """Remarks, time, states of the code and the command."""
    runs = [run for method in results['methods'].values() for run in method['runs'].values()]
    hours = sum(sum(run['seconds'].values()) for run in runs) / 3600
    facts = [('runs', str(len(runs))), ('time of all runs', f'{hours:.1f} h')]
    facts += [(f'code {code}', f'{len(of)} runs') for code, of in states_of_code(results).items()]
    cells = [[cell(html.escape(a)), cell(html.escape(b))] for a, b in facts]
    notes = ''.join(f'<p>{html.escape(remark)}</p>' for remark in remarks(results))
    block = f'<div class="card"><pre>{html.escape(command)}</pre></div>' if command else ''
    return section('What was run', notes, table(cells), block)
