# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Charts of single marks as SVG text: points in a plane, and dots of several runs beside each other."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .charts import Frame

__all__ = ['MARKERS', 'DotRow', 'Points', 'dot_chart', 'scatter_chart']

MARKERS = ('circle', 'cross', 'square', 'triangle')
_SCATTER = (300, 300)
_ROW, _LABELS, _WIDTH = 26, 260, 860


class Points(NamedTuple):
    """Marks of one kind.

    Attributes:
        color: CSS colour.
        marker: One of ``MARKERS``.
        xy: (N, 2).
    """

    color: str
    marker: str
    xy: NDArray[np.floating]


class DotRow(NamedTuple):
    """A method's runs.

    Attributes:
        label: Name at the left.
        color: CSS colour.
        values: One dot each.
        mean: Drawn as a stroke.
    """

    label: str
    color: str
    values: Sequence[float]
    mean: float


def scatter_chart(title: str, points: Sequence[Points]) -> str:
    """Points in a plane without axes, since only nearness means something.

    Args:
        title: Head line.
        points: At least one point in all.

    Returns:
        An ``<svg>`` element.
    """
    every = np.concatenate([np.asarray(group.xy, dtype=np.float64) for group in points])
    centre = (every.min(axis=0) + every.max(axis=0)) / 2
    half = max(float((every.max(axis=0) - every.min(axis=0)).max()) / 2 * 1.05, 1e-9)
    x, y = ((float(c - half), float(c + half)) for c in centre)
    frame = Frame(x, y, _SCATTER, left=12)
    parts = frame.head(title)
    for group in points:
        xy = np.asarray(group.xy, dtype=np.float64)
        shapes = ''.join(_mark(group.marker, u, v) for u, v in frame.place(xy[:, 0], xy[:, 1]))
        style = f'stroke="{group.color}" stroke-width="1.2" fill="none" opacity="0.75"'
        parts.append(f'<path d="{shapes}" {style}/>')
    return '\n'.join([*parts, '</svg>'])


def dot_chart(title: str, rows: Sequence[DotRow], x_label: str, marks: Sequence[float]) -> str:
    """One line for each row: a dot for each run, a stroke at the mean.

    Args:
        title: Head line.
        rows: From the top; at least one.
        x_label: Name of the x axis, whose numbers are per cent.
        marks: Where dashed lines stand.

    Returns:
        An ``<svg>`` element.
    """
    numbers = [value for row in rows for value in (*row.values, row.mean)] + list(marks)
    low, high = min(numbers), max(numbers)
    margin = 0.06 * (high - low) or 1.0
    size = (_WIDTH, 64 + _ROW * len(rows))
    frame = Frame((low - margin, high + margin), (len(rows) - 0.5, -0.5), size, left=_LABELS)
    parts = [*frame.head(title), *frame.columns(x_label, ' %')]
    for mark in marks:
        column = frame.place(mark, 0)[0]
        parts.append(
            f'<line x1="{column:.1f}" x2="{column:.1f}" y1="{frame.v[1]}" y2="{frame.v[0]}"'
            ' stroke="#94a3b8" stroke-dasharray="4 4"/>'
        )
    for i, row in enumerate(rows):
        mean, level = frame.place(row.mean, i)
        label = html.escape(row.label)
        parts.append(
            f'<text x="{_LABELS - 10}" y="{level + 4:.1f}" class="tick end">{label}</text>'
        )
        parts.append(
            f'<line x1="{mean:.1f}" x2="{mean:.1f}" y1="{level - 8:.1f}" y2="{level + 8:.1f}"'
            f' stroke="{row.color}" stroke-width="3"/>'
        )
        parts += [
            f'<circle cx="{u:.1f}" cy="{v:.1f}" r="4" fill="{row.color}" opacity="0.55"/>'
            for u, v in frame.place(np.asarray(row.values), i)
        ]
    return '\n'.join([*parts, '</svg>'])


def _mark(marker: str, u: float, v: float) -> str:
    """Path commands of one mark around a pixel."""
    if marker == 'circle':
        return f'M{u - 2.5:.1f} {v:.1f}a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0 -5 0'
    if marker == 'cross':
        return f'M{u - 2.5:.1f} {v - 2.5:.1f}l5 5m0 -5l-5 5'
    if marker == 'square':
        return f'M{u - 2.3:.1f} {v - 2.3:.1f}h4.6v4.6h-4.6z'
    return f'M{u:.1f} {v - 3:.1f}l3 5h-6z'
