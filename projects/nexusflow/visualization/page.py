# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Pieces of a self-contained HTML page: head with style, tables, inline pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

from .canvas import RGBImage, encode_image

__all__ = ['cell', 'inline_image', 'page', 'section', 'table']

_STYLE = """
:root { --ink: #1f2933; --soft: #62707f; --line: #dde2e8; --paper: #f7f8fa; --mark: #0f766e; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 28px; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 19px; margin: 40px 0 12px; }
h3 { font-size: 15px; margin: 24px 0 8px; }
p { margin: 6px 0 10px; max-width: 80ch; }
.soft { color: var(--soft); }
.card { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 16px;
  margin: 0 0 16px; overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%;
  table-layout: fixed; min-width: 640px; }
th, td { padding: 6px 10px; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { font-weight: 600; color: var(--soft); font-size: 13px; }
th:first-child, td:first-child { text-align: left; width: 26%; white-space: normal; }
tr:last-child td { border-bottom: 0; }
th.wrap { white-space: normal; }
th.group { text-align: center; color: var(--ink); border-left: 1px solid var(--line); }
td.edge, th.edge { border-left: 1px solid var(--line); }
td.best { font-weight: 700; color: var(--mark); }
.below { display: block; font-size: 11px; font-weight: 400; color: var(--soft); }
td.unseen { background: #fff6e5; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 7px; }
.grid { display: grid; gap: 12px; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); }
.views { display: grid; gap: 12px; margin-top: 12px;
  grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); }
figure { margin: 0; }
figcaption { font-size: 13px; color: var(--soft); margin: 0 0 4px; }
img { display: block; width: 100%; height: auto; border-radius: 6px; }
svg { display: block; width: 100%; height: auto; }
svg.stroke { display: inline-block; width: 30px; height: 6px; margin-right: 6px; }
summary { cursor: pointer; font-weight: 600; margin: 16px 0 12px; }
svg .title { font: 600 13px system-ui, sans-serif; fill: var(--ink); }
svg .tick { font: 11px system-ui, sans-serif; fill: var(--soft); }
svg .end { text-anchor: end; } svg .mid { text-anchor: middle; }
svg .grid { stroke: var(--line); stroke-width: 1; }
pre { margin: 0; font: 13px/1.55 ui-monospace, 'SF Mono', Menlo, Consolas, monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.legend span { margin-right: 18px; white-space: nowrap; }
"""


def inline_image(image: RGBImage, alt: str, suffix: str = '.png') -> str:
    """An ``<img>`` that holds its picture.

    Args:
        image: (H, W, 3) RGB.
        alt: Description.
        suffix: ``'.png'`` for drawings, ``'.jpg'`` for photographs.
    """
    kind = {'.png': 'image/png', '.jpg': 'image/jpeg'}[suffix]
    data = base64.b64encode(encode_image(image, suffix)).decode()
    return f'<img alt="{html.escape(alt)}" src="data:{kind};base64,{data}">'


def cell(content: str, classes: Sequence[str] = (), tag: str = 'td', span: int = 1) -> str:
    """A table cell; ``content`` is HTML."""
    marks = f' class="{" ".join(classes)}"' if classes else ''
    wide = f' colspan="{span}"' if span > 1 else ''
    return f'<{tag}{marks}{wide}>{content}</{tag}>'


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table of cells (:func:`cell`) on a card."""
    lines = [f'<tr>{"".join(row)}</tr>' for row in rows]
    return '<div class="card"><table>' + '\n'.join(lines) + '</table></div>'


def section(title: str, *parts: str) -> str:
    """A headed part of the page; ``parts`` are HTML."""
    return '\n'.join([f'<section><h2>{html.escape(title)}</h2>', *parts, '</section>'])


def page(title: str, subtitle: str, sections: Sequence[str]) -> str:
    """The whole page; it asks the network for nothing."""
    return '\n'.join(
        [
            '<!doctype html>',
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body><main>',
            f'<h1>{html.escape(title)}</h1><p class="soft">{html.escape(subtitle)}</p>',
            *sections,
            '</main></body></html>',
        ]
    )
