# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Small things, and what hangs on walls. Frames as in ``furniture.py``."""

from __future__ import annotations

import numpy as np

from nexusflow.world.indoor import materials
from nexusflow.world.indoor.solids import Solid, block, bounds_of
from nexusflow.world.indoor.spec import label_of

Rng = np.random.Generator
Range = tuple[float, float]


def on_top(rng: Rng, x: Range, y: Range, z: float, room_above: float = 0.6) -> list[Solid]:
    """A few things that stand on a board.

    Args:
        rng: Chooses them.
        x: Extent of the board across, metres.
        y: Extent of the board from back to front, metres.
        z: Height of the board, metres.
        room_above: No thing is higher, metres.
    """
    makers = (_box, _bowl, _bottle, _lamp, _pile_of_books, _small_plant)
    solids: list[Solid] = []
    for place in rng.permutation(4)[: rng.integers(0, 4)]:
        maker = makers[rng.integers(len(makers))]
        thing = maker(rng)
        low, high = bounds_of(thing)
        size = high - low
        at_x = x[0] + (place + 0.5) / 4.0 * (x[1] - x[0])
        at_y = rng.uniform(*y)
        at_y = float(np.clip(at_y, y[0] + size[1] / 2, max(y[0], y[1] - size[1] / 2)))
        if size[0] < (x[1] - x[0]) / 3.0 and size[1] <= y[1] - y[0] and high[2] <= room_above:
            solids += [solid.moved(at_x, at_y, z) for solid in thing]
    return solids


def row_of_books(rng: Rng, x: Range, shelf: Range, depth: float, z: float, high: float) -> Solid:
    """A row of books that stand on a shelf."""
    across = max(x[0], shelf[0]), min(x[1], shelf[1])
    height = high * rng.uniform(0.65, 0.95)
    front = depth - rng.uniform(0.02, 0.08)
    return block(label_of('books'), materials.books(rng), across, (0.02, front), (z, z + height))


def plant(rng: Rng) -> list[Solid]:
    """A pot plant on the floor."""
    label, r, h = label_of('objects'), rng.uniform(0.12, 0.2), rng.uniform(0.25, 0.4)
    solids = [block(label, materials.plain(rng), (-r, r), (0.0, 2 * r), (0.0, h), 'cylinder')]
    green = materials.leaves(rng)
    for _ in range(int(rng.integers(2, 5))):
        x, y = rng.uniform(-r, r), r + rng.uniform(-r, r) / 2
        z, s = h + rng.uniform(0.1, 0.6), rng.uniform(0.12, 0.25)
        y = max(y, s)
        solids.append(
            block(label, green, (x - s, x + s), (y - s, y + s), (z - s, z + 1.3 * s), 'ball')
        )
    return solids


def floor_lamp(rng: Rng) -> list[Solid]:
    """A lamp on a pole."""
    label, frame, h = label_of('objects'), materials.metal(rng), rng.uniform(1.4, 1.8)
    return [
        block(label, frame, (-0.14, 0.14), (0.06, 0.34), (0.0, 0.03), 'cylinder'),
        block(label, frame, (-0.015, 0.015), (0.185, 0.215), (0.0, h), 'cylinder'),
        block(
            label, materials.lampshade(rng), (-0.18, 0.18), (0.02, 0.38), (h - 0.3, h), 'cylinder'
        ),
    ]


def crate(rng: Rng) -> list[Solid]:
    """A box or a basket on the floor."""
    w, h = rng.uniform(0.12, 0.28), rng.uniform(0.2, 0.5)
    shape = 'cylinder' if rng.uniform() < 0.4 else 'box'
    extent = (-w, w), (0.0, 2 * w), (0.0, h)
    return [block(label_of('objects'), materials.plain(rng), *extent, shape=shape)]


def picture(rng: Rng) -> list[Solid]:
    """A picture on a wall, z = 0 is its middle."""
    w, h = rng.uniform(0.2, 0.55), rng.uniform(0.2, 0.45)
    look = materials.painting(rng)
    return [block(label_of('picture'), look, (-w, w), (0.0, 0.03), (-h, h))]


def window(rng: Rng) -> list[Solid]:
    """A window in a wall, z = 0 is its middle; with a sill."""
    w, h = rng.uniform(0.45, 1.0), rng.uniform(0.45, 0.7)
    look, label = materials.daylight(rng), label_of('window')
    return [
        block(label, look, (-w, w), (0.0, 0.03), (-h, h)),
        block(label, materials.wood(rng), (-w - 0.05, w + 0.05), (0.0, 0.12), (-h - 0.04, -h)),
    ]


def wall_tv(rng: Rng) -> list[Solid]:
    """A television on a wall, z = 0 is its middle."""
    w = rng.uniform(0.45, 0.7)
    extent = (-w, w), (0.01, 0.06), (-0.58 * w, 0.58 * w)
    return [block(label_of('tv'), materials.screen(rng), *extent)]


def wall_shelf(rng: Rng) -> list[Solid]:
    """A board with books and things, z = 0 is its middle."""
    w, d = rng.uniform(0.35, 0.6), rng.uniform(0.2, 0.26)
    solids = [block(label_of('furniture'), materials.wood(rng), (-w, w), (0.0, d), (-0.14, -0.11))]
    left = rng.uniform(-w, 0.2 * w)
    right = left + rng.uniform(0.3, 0.7)
    solids.append(row_of_books(rng, (left, right), (-w, w), d, -0.11, 0.28))
    return solids


def _box(rng: Rng) -> list[Solid]:
    w, d, h = rng.uniform(0.04, 0.14, 3).tolist()
    return [_thing(rng, 'box', w, d, h)]


def _bowl(rng: Rng) -> list[Solid]:
    r = rng.uniform(0.06, 0.14)
    return [_thing(rng, 'ball', r, r, r * rng.uniform(0.5, 1.0))]


def _bottle(rng: Rng) -> list[Solid]:
    r = rng.uniform(0.03, 0.07)
    return [_thing(rng, 'cylinder', r, r, rng.uniform(0.05, 0.15))]


def _thing(rng: Rng, shape: str, w: float, d: float, h: float) -> Solid:
    look = materials.plain(rng)
    return block(label_of('objects'), look, (-w, w), (-d, d), (0.0, 2 * h), shape)


def _lamp(rng: Rng) -> list[Solid]:
    label, r, h = label_of('objects'), rng.uniform(0.1, 0.16), rng.uniform(0.32, 0.5)
    shade = materials.lampshade(rng)
    return [
        block(
            label, materials.plain(rng), (-0.05, 0.05), (-0.05, 0.05), (0.0, h - 0.1), 'cylinder'
        ),
        block(label, shade, (-r, r), (-r, r), (h - 0.2, h), 'cylinder'),
    ]


def _pile_of_books(rng: Rng) -> list[Solid]:
    w, d, z = rng.uniform(0.08, 0.14), rng.uniform(0.08, 0.12), 0.0
    solids = []
    for _ in range(int(rng.integers(2, 7))):
        thick = rng.uniform(0.015, 0.045)
        book = block(label_of('books'), materials.plain(rng), (-w, w), (-d, d), (z, z + thick))
        solids.append(book.moved(0.0, 0.0, yaw=rng.uniform(-0.15, 0.15)))
        z += thick
    return solids


def _small_plant(rng: Rng) -> list[Solid]:
    label, r = label_of('objects'), rng.uniform(0.05, 0.09)
    z = 1.6 * r
    return [
        block(label, materials.plain(rng), (-r, r), (-r, r), (0.0, z), 'cylinder'),
        block(
            label,
            materials.leaves(rng),
            (-1.5 * r, 1.5 * r),
            (-1.5 * r, 1.5 * r),
            (z, 5 * r),
            'ball',
        ),
    ]
