# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Furniture that stands on the floor, each piece in a frame of its own.

Piece frame: metres, x across with 0 in the middle, y from the back (0, where a wall would be) to the
front, z up from the floor.
"""

from __future__ import annotations

import numpy as np

from nexusflow.world.indoor import materials
from nexusflow.world.indoor.solids import Material, Solid, block
from nexusflow.world.indoor.spec import label_of
from nexusflow.world.indoor.things import on_top, row_of_books

Rng = np.random.Generator


def bed(rng: Rng) -> list[Solid]:
    """Frame, mattress, blanket, headboard and pillows."""
    label, w, d = label_of('bed'), rng.uniform(0.45, 0.9), rng.uniform(1.9, 2.15)
    timber, sheet, blanket = materials.wood(rng), materials.cloth(rng), materials.cloth(rng)
    base, top = rng.uniform(0.15, 0.35), rng.uniform(0.42, 0.6)
    fold = rng.uniform(0.5, 1.2)
    solids = [
        block(label, timber, (-w - 0.03, w + 0.03), (0.05, d), (0.08, base)),
        block(label, sheet, (-w, w), (0.06, d - 0.02), (base, top)),
        block(label, blanket, (-w - 0.02, w + 0.02), (fold, d + 0.01), (base - 0.05, top + 0.03)),
        block(label, timber, (-w - 0.04, w + 0.04), (0.0, 0.06), (0.0, rng.uniform(0.7, 1.2))),
    ]
    pillow = materials.cloth(rng)
    for side in (-1, 1) if w > 0.6 else (0,):
        x = 0.5 * side * w
        extent = (x - 0.28, x + 0.28), (0.1, 0.45), (top - 0.05, top + 0.14)
        solids.append(block(label, pillow, *extent, shape='ball'))
    return solids


def sofa(rng: Rng) -> list[Solid]:
    """One to three seats between arms, with loose cushions."""
    label, cover = label_of('sofa'), materials.cloth(rng)
    seats = int(rng.integers(1, 4))
    w, d = 0.32 * seats + 0.05, rng.uniform(0.8, 0.95)
    seat, back, arm = rng.uniform(0.38, 0.46), rng.uniform(0.72, 0.95), rng.uniform(0.52, 0.65)
    solids = [
        block(label, cover, (-w, w), (0.1, d - 0.04), (0.06, seat - 0.13)),
        block(label, cover, (-w, w), (0.0, 0.22), (0.06, back)),
        block(label, cover, (-w - 0.16, -w), (0.0, d), (0.04, arm)),
        block(label, cover, (w, w + 0.16), (0.0, d), (0.04, arm)),
    ]
    for k in range(seats):
        x = -w + (2 * k + 1) * w / seats
        half = w / seats - 0.01
        solids.append(block(label, cover, (x - half, x + half), (0.2, d), (seat - 0.12, seat)))
        if rng.uniform() < 0.5:
            extent = (x - 0.2, x + 0.2), (0.2, 0.38), (seat, seat + 0.36)
            solids.append(block(label, materials.cloth(rng), *extent, shape='ball'))
    return solids


def chair(rng: Rng) -> list[Solid]:
    """A dining chair on four legs, or an office chair on a column; its back is at y = 0."""
    label, w, seat = label_of('chair'), rng.uniform(0.2, 0.25), rng.uniform(0.42, 0.48)
    d, top = 2 * w, rng.uniform(0.8, 1.05)
    cover = materials.wood(rng) if rng.uniform() < 0.5 else materials.cloth(rng)
    solids = [block(label, cover, (-w, w), (0.0, d), (seat - 0.05, seat))]
    low = seat + rng.uniform(0.0, 0.15)
    solids.append(block(label, cover, (-w, w), (0.0, 0.045), (low, top)))
    frame = materials.metal(rng) if rng.uniform() < 0.5 else materials.wood(rng)
    if rng.uniform() < 0.3:
        solids.append(
            block(label, frame, (-0.04, 0.04), (w - 0.04, w + 0.04), (0.05, seat), 'cylinder')
        )
        extent = (-w, w), (0.0, d), (0.0, 0.06)
        solids.append(block(label, frame, *extent, shape='cylinder'))
        solids.append(block(label, frame, (-0.04, 0.04), (0.01, 0.04), (seat - 0.03, low + 0.05)))
        return solids
    return solids + _legs(label, frame, (-w, w), (0.0, d), seat - 0.04, 0.04, low)


def table(rng: Rng, height: tuple[float, float] = (0.7, 0.78)) -> list[Solid]:
    """A square or round table with things on it; `height` is the range of its height, metres."""
    label, timber, h = label_of('table'), materials.wood(rng), rng.uniform(*height)
    w, d = rng.uniform(0.4, 0.9), rng.uniform(0.7, 1.0)
    if rng.uniform() < 0.3:
        r = 0.5 * d
        solids = [
            block(label, timber, (-r, r), (0.0, d), (h - 0.04, h), 'cylinder'),
            block(label, timber, (-0.06, 0.06), (r - 0.06, r + 0.06), (0.0, h - 0.03), 'cylinder'),
            block(label, timber, (-0.5 * r, 0.5 * r), (0.5 * r, 1.5 * r), (0.0, 0.05), 'cylinder'),
        ]
        return solids + on_top(rng, (-0.6 * r, 0.6 * r), (0.4 * r, 1.6 * r), h)
    solids = [block(label, timber, (-w, w), (0.0, d), (h - 0.04, h))]
    solids += _legs(label, timber, (-w, w), (0.0, d), h - 0.03, rng.uniform(0.04, 0.09), h - 0.03)
    return solids + on_top(rng, (-w, w), (0.0, d), h)


def coffee_table(rng: Rng) -> list[Solid]:
    """A low table."""
    return table(rng, (0.35, 0.5))


def desk(rng: Rng) -> list[Solid]:
    """A table with a screen, drawers and things."""
    label, timber, h = label_of('table'), materials.wood(rng), rng.uniform(0.7, 0.76)
    w, d = rng.uniform(0.55, 0.9), rng.uniform(0.6, 0.75)
    solids = [block(label, timber, (-w, w), (0.0, d), (h - 0.04, h))]
    solids += _legs(label, timber, (-w, w), (0.0, d), h - 0.03, 0.06, h - 0.03)
    if rng.uniform() < 0.6:
        front = materials.wood(rng, 'doors')
        solids.append(
            block(
                label_of('furniture'),
                front,
                (w - 0.42, w - 0.06),
                (0.02, d - 0.04),
                (0.02, h - 0.06),
            )
        )
    if rng.uniform() < 0.8:
        solids += _television(rng, rng.uniform(-0.2, 0.2), (0.14, 0.18), h, 0.29)
    return solids + on_top(rng, (-w, w), (0.3, d), h)


def tv_stand(rng: Rng) -> list[Solid]:
    """A low cabinet with a television."""
    w, d, h = rng.uniform(0.5, 0.9), rng.uniform(0.38, 0.5), rng.uniform(0.4, 0.65)
    solids = [_cabinet(rng, w, d, h)]
    solids += _television(rng, 0.0, (0.16, 0.22), h, rng.uniform(0.4, 0.65))
    return solids + on_top(rng, (-w, w), (d - 0.15, d), h)


def dresser(rng: Rng) -> list[Solid]:
    """A chest of drawers, or a bedside table, with things."""
    w, d, h = rng.uniform(0.22, 0.7), rng.uniform(0.38, 0.5), rng.uniform(0.5, 1.0)
    return [_cabinet(rng, w, d, h), *on_top(rng, (-w, w), (0.0, d), h)]


def wardrobe(rng: Rng) -> list[Solid]:
    """A tall cupboard."""
    w, d, h = rng.uniform(0.4, 0.9), rng.uniform(0.5, 0.62), rng.uniform(1.7, 2.2)
    return [_cabinet(rng, w, d, h)]


def bookcase(rng: Rng) -> list[Solid]:
    """Open shelves with books and things."""
    label, timber = label_of('furniture'), materials.wood(rng)
    w, d, h = rng.uniform(0.35, 0.65), rng.uniform(0.26, 0.34), rng.uniform(1.1, 2.1)
    solids = [
        block(label, timber, (-w, w), (0.0, 0.02), (0.0, h)),
        block(label, timber, (-w - 0.03, -w), (0.0, d), (0.0, h)),
        block(label, timber, (w, w + 0.03), (0.0, d), (0.0, h)),
    ]
    levels = max(2, int(h / rng.uniform(0.3, 0.42)))
    pitch = (h - 0.06) / levels
    for k in range(levels + 1):
        z = 0.03 + k * pitch
        solids.append(block(label, timber, (-w, w), (0.0, d), (z, z + 0.03)))
        if k == levels:
            continue
        if rng.uniform() < 0.8:
            left, right = sorted(rng.uniform(-w, w, 2).tolist())
            solids.append(
                row_of_books(rng, (left - 0.1, right + 0.1), (-w, w), d, z + 0.03, pitch - 0.05)
            )
        else:
            solids += on_top(rng, (-w, w), (0.03, d), z + 0.03, pitch - 0.06)
    return solids


def rug(rng: Rng) -> list[Solid]:
    """A rug; it counts as floor."""
    w, d = rng.uniform(0.7, 1.3), rng.uniform(1.2, 2.2)
    return [block(label_of('floor'), materials.cloth(rng), (-w, w), (0.0, d), (0.0, 0.012))]


def _cabinet(rng: Rng, w: float, d: float, h: float) -> Solid:
    front = materials.wood(rng, 'doors')
    return block(label_of('furniture'), front, (-w, w), (0.0, d), (0.0, h))


def _television(rng: Rng, x: float, y: tuple[float, float], z: float, half: float) -> list[Solid]:
    """A flat screen on its foot."""
    label, frame = label_of('tv'), materials.metal(rng)
    tall = half * rng.uniform(1.1, 1.3)
    panel = (x - half, x + half), y, (z + 0.08, z + 0.08 + tall)
    return [
        block(label, materials.screen(rng), *panel),
        block(label, frame, (x - 0.12, x + 0.12), (y[0] - 0.06, y[1] + 0.06), (z, z + 0.015)),
        block(label, frame, (x - 0.025, x + 0.025), (y[0], y[0] + 0.03), (z, z + 0.1)),
    ]


def _legs(
    label: int,
    material: Material,
    x: tuple[float, float],
    y: tuple[float, float],
    height: float,
    width: float,
    back_height: float,
) -> list[Solid]:
    """Four legs at the corners; those at the back may be higher."""
    return [
        block(label, material, (a, a + width), (b, b + width), (0.0, top))
        for b, top in ((y[0], back_height), (y[1] - width, height))
        for a in (x[0], x[1] - width)
    ]
