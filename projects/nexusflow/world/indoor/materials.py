# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Materials at random: their colours overlap between classes, as in homes."""

from __future__ import annotations

import colorsys
from typing import Final

import numpy as np

from nexusflow.world.indoor.solids import Color, Material

_WOODS: Final[tuple[Color, ...]] = (
    (0.36, 0.22, 0.12),
    (0.55, 0.36, 0.2),
    (0.72, 0.54, 0.34),
    (0.82, 0.68, 0.48),
    (0.25, 0.15, 0.1),
)
_WALLS: Final[tuple[str, ...]] = ('plain', 'plain', 'plain', 'stripes', 'bricks', 'blotches')


def _near(color: Color, rng: np.random.Generator, spread: float = 0.05) -> Color:
    r, g, b = np.clip(np.asarray(color) + rng.uniform(-spread, spread, 3), 0.02, 1.0).tolist()
    return r, g, b


def _hue(
    rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]
) -> Color:
    return colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(*saturation), rng.uniform(*value))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 30))


def wood(rng: np.random.Generator, pattern: str = 'wood') -> Material:
    """Wood, now and then painted white."""
    color = (0.88, 0.86, 0.82) if rng.uniform() < 0.15 else _WOODS[rng.integers(len(_WOODS))]
    color = _near(color, rng)
    dark = (color[0] * 0.45, color[1] * 0.45, color[2] * 0.45)
    return Material(pattern, color, dark, rng.uniform(0.08, 0.3), seed=_seed(rng))


def cloth(rng: np.random.Generator) -> Material:
    """Cloth of a bed, a sofa, a seat or a rug."""
    pattern = str(rng.choice(['cloth', 'cloth', 'checks', 'stripes', 'blotches']))
    color = _hue(rng, (0.0, 0.6), (0.2, 0.95))
    second = _near(color, rng, 0.3)
    return Material(pattern, color, second, rng.uniform(0.08, 0.25), seed=_seed(rng))


def wall_paint(rng: np.random.Generator) -> Material:
    """Paint, paper or bricks of walls."""
    pattern = _WALLS[rng.integers(len(_WALLS))]
    color = _hue(rng, (0.02, 0.35), (0.6, 0.95))
    if pattern == 'bricks' and rng.uniform() < 0.5:
        color = _near((0.6, 0.32, 0.24), rng)
    spread = 0.2 if pattern == 'bricks' else 0.06
    return Material(
        pattern, color, _near(color, rng, spread), rng.uniform(0.15, 0.4), seed=_seed(rng)
    )


def ceiling_paint(rng: np.random.Generator) -> Material:
    """White paint, or the panels of an office."""
    pattern, color = ('tiles' if rng.uniform() < 0.25 else 'plain'), _near((0.88, 0.87, 0.84), rng)
    return Material(pattern, color, (0.6, 0.6, 0.6), 0.6, seed=_seed(rng))


def flooring(rng: np.random.Generator) -> Material:
    """Wood, tiles or carpet."""
    kind = rng.uniform()
    if kind < 0.45:
        return wood(rng)
    if kind < 0.7:
        color = _hue(rng, (0.0, 0.25), (0.4, 0.9))
        return Material(
            'tiles', color, _near(color, rng, 0.25), rng.uniform(0.2, 0.6), seed=_seed(rng)
        )
    return Material('cloth', _hue(rng, (0.05, 0.5), (0.3, 0.75)), seed=_seed(rng))


def plain(rng: np.random.Generator, value: tuple[float, float] = (0.1, 0.95)) -> Material:
    """One colour, as of things of plastic, metal or clay."""
    return Material('plain', _hue(rng, (0.0, 0.8), value), seed=_seed(rng))


def metal(rng: np.random.Generator) -> Material:
    """Grey or black."""
    return Material('plain', _hue(rng, (0.0, 0.1), (0.1, 0.6)), seed=_seed(rng))


def leaves(rng: np.random.Generator) -> Material:
    """Leaves of a plant."""
    color = _near((0.2, 0.42, 0.15), rng, 0.08)
    return Material('blotches', color, _near((0.1, 0.25, 0.08), rng), 0.04, seed=_seed(rng))


def books(rng: np.random.Generator) -> Material:
    """A row of book backs."""
    color = _near((0.45, 0.4, 0.38), rng, 0.12)
    return Material('books', color, (0.9, 0.85, 0.7), rng.uniform(0.022, 0.045), seed=_seed(rng))


def painting(rng: np.random.Generator) -> Material:
    """A picture in its frame."""
    frame = _WOODS[rng.integers(len(_WOODS))] if rng.uniform() < 0.6 else (0.08, 0.08, 0.08)
    return Material('picture', _hue(rng, (0.1, 0.6), (0.3, 0.8)), frame, seed=_seed(rng))


def screen(rng: np.random.Generator) -> Material:
    """A dark screen."""
    return Material(
        'screen', _near((0.08, 0.09, 0.11), rng, 0.03), (0.03, 0.03, 0.03), seed=_seed(rng)
    )


def daylight(rng: np.random.Generator) -> Material:
    """A window pane with the day behind it."""
    frame = (0.9, 0.9, 0.88) if rng.uniform() < 0.6 else _WOODS[rng.integers(len(_WOODS))]
    color = _near((0.55, 0.72, 0.95), rng, 0.08)
    return Material('glass', color, frame, glow=rng.uniform(0.7, 1.3), seed=_seed(rng))


def lampshade(rng: np.random.Generator) -> Material:
    """A shade with the light on or off."""
    return Material(
        'plain', _near((0.95, 0.88, 0.7), rng), glow=rng.choice([0.0, 1.2]), seed=_seed(rng)
    )
