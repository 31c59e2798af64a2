# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Surface patterns: colour from the place on a surface.

A pattern is a function of ``(material, place)``; it gives (N, 3) RGB in [0, 1] for N surface points.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from nexusflow.world.indoor.solids import Floats, Material

_TABLE = 64


class Place(NamedTuple):
    """Where points lie on a face.

    Attributes:
        u: (N,) metres across.
        v: (N,) metres up (or away, on level faces).
        across: (N,) the same as u from -1 to 1 over the face.
        up: (N,) the same as v from -1 to 1 over the face.
    """

    u: Floats
    v: Floats
    across: Floats
    up: Floats


Pattern = Callable[[Material, Place], Floats]


def noise(u: Floats, v: Floats, seed: int) -> Floats:
    """(N,) smooth noise in [-1, 1] with features of size 1 (bilinear value noise)."""
    table = np.random.default_rng([seed, 7]).uniform(-1.0, 1.0, (_TABLE, _TABLE))
    column, row = np.floor(u).astype(int), np.floor(v).astype(int)
    fu, fv = u - column, v - row
    left, right, top, low = column % _TABLE, (column + 1) % _TABLE, row % _TABLE, (row + 1) % _TABLE
    upper = table[top, left] * (1 - fu) + table[top, right] * fu
    lower = table[low, left] * (1 - fu) + table[low, right] * fu
    return np.asarray(upper * (1 - fv) + lower * fv)


def steps(values: Floats, seed: int) -> Floats:
    """(N,) a random number in [-1, 1] for each whole number that a value is rounded down to."""
    table = np.random.default_rng([seed, 11]).uniform(-1.0, 1.0, 256)
    return np.asarray(table[np.floor(values).astype(int) % 256])


def _tint(color: object, amount: Floats) -> Floats:
    """A colour made lighter or darker by a factor per point."""
    return np.asarray(np.clip(np.asarray(color) * (1.0 + amount)[:, None], 0.0, 1.0))


def _mix(first: Floats, second: object, share: Floats) -> Floats:
    """From the first colour (share 0) to the second (share 1)."""
    return np.asarray(first + (np.asarray(second) - first) * share[:, None])


def _plain(material: Material, place: Place) -> Floats:
    return _tint(material.color, 0.05 * noise(place.u * 3, place.v * 3, material.seed))


def _wood(material: Material, place: Place) -> Floats:
    plank = place.v / material.scale_m
    grain = noise(place.u * 2 + 17 * np.floor(plank), place.v * 45, material.seed)
    joint = (plank % 1.0 < 0.05).astype(float)
    colors = _tint(material.color, 0.18 * grain + 0.12 * steps(plank, material.seed))
    return _mix(colors, material.second, 0.6 * joint)


def _tiles(material: Material, place: Place) -> Floats:
    u, v = place.u / material.scale_m, place.v / material.scale_m
    joint = ((u % 1.0 < 0.05) | (v % 1.0 < 0.05)).astype(float)
    tone = steps(u * 1.0 + 31 * np.floor(v), material.seed)
    return _mix(_tint(material.color, 0.08 * tone), material.second, 0.7 * joint)


def _checks(material: Material, place: Place) -> Floats:
    u, v = place.u / material.scale_m, place.v / material.scale_m
    share = ((np.floor(u) % 2) + (np.floor(v) % 2)) / 2.0
    colors = _mix(_plain(material, place), material.second, share)
    return np.asarray(
        colors * (1.0 + 0.08 * noise(place.u * 60, place.v * 60, material.seed))[:, None]
    )


def _stripes(material: Material, place: Place) -> Floats:
    share = (np.floor(place.u / material.scale_m * 2.0) % 2.0).astype(float)
    return _mix(_plain(material, place), material.second, share)


def _bricks(material: Material, place: Place) -> Floats:
    row = place.v / (0.4 * material.scale_m)
    u = place.u / material.scale_m + 0.5 * (np.floor(row) % 2)
    joint = ((u % 1.0 < 0.06) | (row % 1.0 < 0.12)).astype(float)
    tone = steps(u + 17 * np.floor(row), material.seed)
    return _mix(_tint(material.color, 0.2 * tone), material.second, joint)


def _cloth(material: Material, place: Place) -> Floats:
    fine = noise(place.u * 70, place.v * 70, material.seed)
    folds = noise(place.u * 5, place.v * 5, material.seed + 1)
    return _tint(material.color, 0.12 * fine + 0.12 * folds)


def _blotches(material: Material, place: Place) -> Floats:
    u, v = place.u / material.scale_m, place.v / material.scale_m
    share = np.clip(noise(u, v, material.seed) * 3.0, 0.0, 1.0)
    return _mix(_cloth(material, place), material.second, share)


def _books(material: Material, place: Place) -> Floats:
    back = place.u / material.scale_m + 0.3 * noise(place.u * 9, 0.0 * place.v, material.seed)
    hues = np.stack([steps(back, material.seed + k) for k in range(3)], axis=1)
    colors = np.clip(np.asarray(material.color) + 0.38 * hues, 0.03, 1.0)
    edge = np.where(back % 1.0 < 0.12, 0.45, 1.0)
    title = (np.abs(place.up - 0.4 * steps(back, material.seed + 5)) < 0.14).astype(float)
    return _mix(colors * edge[:, None], material.second, 0.5 * title)


def _doors(material: Material, place: Place) -> Floats:
    """A cabinet's front: wood with the gaps of doors or drawers, and their handles."""
    count = 1 + material.seed % 3
    cell = (place.up + 1.0) / 2.0 * count
    gap = (np.minimum(cell % 1.0, 1.0 - cell % 1.0) < 0.03) | (np.abs(place.across) < 0.02)
    handle = (np.abs(cell % 1.0 - 0.5) < 0.12) & (np.abs(np.abs(place.across) - 0.16) < 0.03)
    return _mix(_wood(material, place), material.second, (gap | handle).astype(float))


def _picture(material: Material, place: Place) -> Floats:
    frame = (np.maximum(np.abs(place.across), np.abs(place.up)) > 0.86).astype(float)
    mat = (np.maximum(np.abs(place.across), np.abs(place.up)) > 0.7).astype(float)
    paint = [noise(place.across * 2.2 + 9, place.up * 2.2 + 9, material.seed + k) for k in range(3)]
    colors = np.clip(np.asarray(material.color) + 0.5 * np.stack(paint, axis=1), 0.0, 1.0)
    return _mix(_mix(colors, (0.9, 0.89, 0.85), mat), material.second, frame)


def _screen(material: Material, place: Place) -> Floats:
    bezel = (np.maximum(np.abs(place.across), np.abs(place.up)) > 0.93).astype(float)
    glare = np.clip(0.5 - np.abs(place.across + place.up - 0.3), 0.0, 1.0)
    return _mix(_tint(material.color, 1.6 * glare), material.second, bezel)


def _glass(material: Material, place: Place) -> Floats:
    """A window: bright outside, horizon, frame and bars."""
    sky = np.clip(0.5 + 0.6 * place.up, 0.0, 1.0)
    trees = noise(place.across * 5 + 9, place.up * 4 + 9, material.seed) - 1.5 * place.up - 0.9
    colors = _mix(
        _mix(np.ones((len(sky), 3)), material.color, sky), (0.3, 0.4, 0.22), (trees > 0) * 0.8
    )
    bars = np.maximum(np.abs(place.across), np.abs(place.up)) > 0.9
    bars |= (np.abs(place.across) < 0.04) | (np.abs(place.up - 0.3) < 0.03)
    return _mix(colors, material.second, bars.astype(float))


PATTERNS: Final[dict[str, Pattern]] = {
    'blotches': _blotches,
    'books': _books,
    'bricks': _bricks,
    'checks': _checks,
    'cloth': _cloth,
    'doors': _doors,
    'glass': _glass,
    'picture': _picture,
    'plain': _plain,
    'screen': _screen,
    'stripes': _stripes,
    'tiles': _tiles,
    'wood': _wood,
}
