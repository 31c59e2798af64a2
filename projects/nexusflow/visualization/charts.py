# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Line charts as SVG text that stands inside an HTML page."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ['Frame', 'Series', 'line_chart', 'nice_ticks']

_SIZE = (420, 240)
_PAD = {'left': 52, 'right': 12, 'top': 30, 'bottom': 34}
_MANY_POINTS = 40


class Series(NamedTuple):
    """One line of a chart.

    Attributes:
        color: CSS colour.
        x: (N,) ascending.
        y: (N,); NaN leaves a gap.
        dash: SVG pattern of dashes and gaps; a full line by default.
    """

    color: str
    x: NDArray[np.floating]
    y: NDArray[np.floating]
    dash: str = ''


def nice_ticks(low: float, high: float, count: int = 5) -> NDArray[np.float64]:
    """Round numbers that cover an interval from inside.

    Example:
        >>> nice_ticks(0.0, 0.93).tolist()
        [0.0, 0.2, 0.4, 0.6, 0.8]
    """
    raw = max(high - low, 1e-12) / count
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = np.ceil(low / step - 1e-9)
    last = np.floor(high / step + 1e-9)
    return np.round(np.arange(first, last + 1) * step, 12) + 0.0


@dataclass(frozen=True)
class Frame:
    """Where values lie on a chart, and what stands around them.

    Attributes:
        x: Interval of the x axis.
        y: Interval of the y axis.
        size: Width and height in pixels.
        left: Pixels left of the y axis.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    size: tuple[int, int] = _SIZE
    left: int = _PAD['left']

    @property
    def u(self) -> tuple[int, int]:
        """Left and right end of the x axis, pixels."""
        return self.left, self.size[0] - _PAD['right']

    @property
    def v(self) -> tuple[int, int]:
        """Lower and upper end of the y axis, pixels."""
        return self.size[1] - _PAD['bottom'], _PAD['top']

    def place(self, x: Any, y: Any) -> NDArray[np.float64]:
        """Values (...,) to pixels (..., 2)."""
        (u0, u1), (v0, v1) = self.u, self.v
        across = u0 + (np.asarray(x) - self.x[0]) / (self.x[1] - self.x[0]) * (u1 - u0)
        up = v0 + (np.asarray(y) - self.y[0]) / (self.y[1] - self.y[0]) * (v1 - v0)
        return np.stack(np.broadcast_arrays(across, up), axis=-1)

    def head(self, title: str) -> list[str]:
        """The opening tag and the head line."""
        width, height = self.size
        name = html.escape(title)
        return [
            f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{name}">',
            f'<text x="{min(self.left, _PAD["left"])}" y="16" class="title">{name}</text>',
        ]

    def rows(self, log_scale: bool = False) -> list[str]:
        """Lines and numbers of the y axis."""
        parts = []
        for tick in nice_ticks(*self.y):
            row = self.place(self.x[0], tick)[1]
            parts.append(
                f'<line x1="{self.u[0]}" x2="{self.u[1]}" y1="{row:.1f}" y2="{row:.1f}" class="grid"/>'
            )
            text = f'{10**tick:.3g}' if log_scale else f'{tick:.4g}'
            parts.append(
                f'<text x="{self.u[0] - 6}" y="{row + 3.5:.1f}" class="tick end">{text}</text>'
            )
        return parts

    def columns(self, label: str, unit: str = '') -> list[str]:
        """Numbers and name of the x axis."""
        parts = []
        for tick in nice_ticks(*self.x):
            column = self.place(tick, self.y[0])[0]
            text = f'{tick:.6g}{unit}'
            parts.append(
                f'<text x="{column:.1f}" y="{self.v[0] + 14}" class="tick mid">{text}</text>'
            )
        middle, below = sum(self.u) / 2, self.size[1] - 5
        parts.append(f'<text x="{middle}" y="{below}" class="tick mid">{html.escape(label)}</text>')
        return parts


def line_chart(
    title: str,
    series: Sequence[Series],
    x_label: str = 'iteration',
    log_scale: bool = False,
    from_zero: bool = False,
) -> str:
    """Draw lines over a common axis.

    Series of many points are drawn faintly, with their running mean on top.

    Args:
        title: Head line.
        series: At least one finite point in all.
        x_label: Name of the x axis.
        log_scale: Whether y is logarithmic; values that are not positive are left out.
        from_zero: Whether y starts at 0.

    Returns:
        An ``<svg>`` element.
    """
    series = [_prepared(line, log_scale) for line in series]
    xs = np.concatenate([line.x for line in series])
    ys = np.concatenate([line.y for line in series])
    x_low, x_high = float(np.nanmin(xs)), float(np.nanmax(xs))
    y_low, y_high = float(np.nanmin(ys)), float(np.nanmax(ys))
    if from_zero and not log_scale:
        y_low = min(0.0, y_low)
    margin = 0.05 * (y_high - y_low) or 0.05 * abs(y_high) or 0.05
    y_low, y_high = y_low - (0 if from_zero and not log_scale else margin), y_high + margin
    frame = Frame((x_low, x_high if x_high > x_low else x_low + 1.0), (y_low, y_high))
    parts = [*frame.head(title), *frame.rows(log_scale), *frame.columns(x_label)]
    for line in series:
        parts += _lines(
            line, frame.place(line.x, line.y), frame.place(line.x, _running_mean(line.y))
        )
    return '\n'.join([*parts, '</svg>'])


def _prepared(line: Series, log_scale: bool) -> Series:
    """Float arrays; logarithms where the scale wants them."""
    x, y = np.asarray(line.x, dtype=np.float64), np.asarray(line.y, dtype=np.float64)
    y = np.where(np.isfinite(y), y, np.nan)
    if log_scale:
        y = np.log10(np.where(y > 0, y, np.nan))
    return line._replace(x=x, y=y)


def _running_mean(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over a centred window of a tenth of the points, NaN ignored."""
    half = len(y) // 20
    valid = ~np.isnan(y)
    total = np.concatenate([[0.0], np.cumsum(np.where(valid, y, 0.0))])
    count = np.concatenate([[0], np.cumsum(valid)])
    low = np.clip(np.arange(len(y)) - half, 0, None)
    high = np.clip(np.arange(len(y)) + half + 1, None, len(y))
    number = count[high] - count[low]
    return np.where(number > 0, (total[high] - total[low]) / np.maximum(number, 1), np.nan)


def _lines(line: Series, points: NDArray[np.float64], smooth: NDArray[np.float64]) -> list[str]:
    """Elements of one series."""
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ''
    style = f'fill="none" stroke="{line.color}" stroke-linejoin="round"{dash}'
    valid = ~np.isnan(points[:, 1])
    if valid.sum() > _MANY_POINTS:
        faint = f'<path d="{_path(points)}" {style} stroke-width="1" opacity="0.25"/>'
        return [faint, f'<path d="{_path(smooth)}" {style} stroke-width="2"/>']
    out = [f'<path d="{_path(points)}" {style} stroke-width="2"/>']
    if valid.sum() <= _MANY_POINTS / 2:
        out += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{line.color}"/>'
            for x, y in points[valid]
        ]
    return out


def _path(points: NDArray[np.float64]) -> str:
    """Path commands; a new piece starts after each gap."""
    out, pen = [], 'M'
    for x, y in points:
        if np.isnan(y):
            pen = 'M'
            continue
        out.append(f'{pen}{x:.1f} {y:.1f}')
        pen = 'L'
    return ' '.join(out)
