# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The shapes of vehicles on four wheels and more, each fitted into its labelled box."""

from __future__ import annotations

import numpy as np

from nexusflow.world.mesh import MeshBuilder
from nexusflow.world.paints import (
    DARK,
    GLASS,
    PLATE,
    RED,
    RED_LIGHT,
    WHITE,
    WHITE_LIGHT,
    YELLOW,
    pick,
)
from nexusflow.world.scene import NDArrayFloat
from nexusflow.world.styles import CityStyle


def _wheels(builder: MeshBuilder, length: float, width: float, radius: float, at: float) -> None:
    for x in (-at * length, at * length):
        for facing in (-1, 1):
            builder.wheel(x, facing * width / 2, radius, facing)


def _lights(builder: MeshBuilder, length: float, width: float, z: tuple[float, float]) -> None:
    outer, inner = width * 0.48, width * 0.26
    for side in (-1, 1):
        y = (min(side * outer, side * inner), max(side * outer, side * inner))
        builder.decal_x(length / 2, y, z, WHITE_LIGHT, 1, 2.0, min_px=6.0, glow=True)
        builder.decal_x(-length / 2, y, z, RED_LIGHT, -1, 2.0, min_px=6.0, glow=True)
    plate = (z[0] - 0.35 * (z[1] - z[0]), z[0] + 0.4 * (z[1] - z[0]))
    builder.decal_x(-length / 2, (-width * 0.13, width * 0.13), plate, PLATE, -1, 2.0, min_px=24.0)


def car(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    """A car: body, wheels, lamps and a cabin of glass under a roof."""
    length, width, height = size
    paint = pick(style.car_paint, rng)
    hatch = height > 1.7 or rng.random() < 0.35
    rear, front = (-0.49, 0.27) if hatch else (-0.40, 0.24)
    waist = 0.56 * height
    half_x, half_y = length / 2, width / 2
    builder.box((-half_x * 0.96, half_x * 0.96), (-half_y, half_y), (0.0, 0.2 * height), DARK, 0.0)
    nose = (0.0, 0.03 * length, 0.04 * width)
    builder.box((-half_x, half_x), (-half_y, half_y), (0.14 * height, waist), paint, 1.0, top=nose)
    _wheels(builder, length, width, 0.2 * height, 0.31)
    _lights(builder, length, width, (0.36 * height, 0.48 * height))
    builder.decal_x(
        half_x, (-width * 0.24, width * 0.24), (0.2 * height, 0.36 * height), DARK, 1, min_px=20.0
    )
    cabin_x = (rear * length, front * length)
    cabin_y = (-half_y * 0.94, half_y * 0.94)
    drawn_in = (0.04 * length if hatch else 0.09 * length, 0.14 * length, 0.09 * width)
    builder.box(cabin_x, cabin_y, (waist, height), GLASS, 4.0, top=drawn_in, roof=paint)
    middle = (cabin_x[0] + cabin_x[1]) / 2
    for facing in (-1, 1):  # the pillar between front and rear windows
        low, high = facing * half_y * 0.94, facing * (half_y * 0.94 - drawn_in[2])
        corners = [
            (middle + 0.05, low, waist),
            (middle - 0.05, low, waist),
            (middle - 0.05, high, height),
            (middle + 0.05, high, height),
        ]
        builder.quad(corners[::facing], paint * 0.9, 5.0, min_px=22.0)


def emergency(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    """A white van with red bands and a light bar."""
    length, width, height = size
    builder.box(
        (-length / 2, length / 2), (-width / 2, width / 2), (0.12 * height, 0.9 * height), WHITE
    )
    for facing in (-1, 1):
        band = (0.4 * height, 0.52 * height)
        builder.decal_y((-length / 2, length / 2), facing * width / 2, band, RED, facing, min_px=8)
    _wheels(builder, length, width, 0.17 * height, 0.32)
    _lights(builder, length, width, (0.28 * height, 0.38 * height))
    glass = (0.55 * height, 0.84 * height)
    builder.decal_x(length / 2, (-0.42 * width, 0.42 * width), glass, GLASS, 1)
    bar = (0.2 * length, 0.28 * length)
    builder.box(bar, (-0.35 * width, 0.35 * width), (0.9 * height, height), (220, 60, 40), 5.0)


def truck(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    """A cab and a cargo box; which hides which depends on the side of the camera."""
    length, width, height = size
    paint, cargo = pick(style.car_paint, rng), pick(style.large_paint, rng)
    half_x, half_y = length / 2, width / 2
    split = half_x - min(0.3 * length, 2.2)
    builder.box((-half_x, half_x), (-half_y * 0.9, half_y * 0.9), (0.1, 0.2 * height), DARK, -1.0)
    _wheels(builder, length, width, min(0.5, 0.17 * height), 0.36)
    deck = (0.2 * height, height)
    builder.box((-half_x, split - 0.1), (-half_y, half_y), deck, cargo, 3.0, -10.0)
    for facing in (-1, 1):
        panel = (0.45 * height, 0.72 * height)
        span = (-half_x * 0.9, split - 0.5)
        builder.decal_y(span, facing * half_y, panel, paint, facing, 4.0, -10.0, 18.0)
    door = (0.24 * height, 0.94 * height)
    builder.decal_x(-half_x, (-0.02, 0.02), door, DARK, -1, 4.0, -10.0, 30.0)
    cab_top = 0.86 * height
    cab = (split, half_x)
    nose = (0.0, 0.12 * (half_x - split), 0.03 * width)
    builder.box(cab, (-half_y, half_y), (0.12 * height, cab_top), paint, 3.0, 10.0, top=nose)
    glass = (0.5 * height, 0.78 * height)
    builder.decal_x(half_x, (-0.44 * width, 0.44 * width), glass, GLASS, 1, 4.0, 10.0, 6.0)
    for facing in (-1, 1):
        window = (split + 0.25, half_x - 0.3)
        builder.decal_y(window, facing * half_y, glass, GLASS, facing, 4.0, 10.0)
    _tail(builder, size, (0.13 * height, 0.2 * height))


def _tail(builder: MeshBuilder, size: NDArrayFloat, z: tuple[float, float]) -> None:
    """Lamps of long vehicles, drawn last at their end."""
    length, width, _ = size
    for side in (-1, 1):
        y = tuple(sorted((side * width * 0.47, side * width * 0.3)))
        span = (y[0], y[1])
        builder.decal_x(length / 2, span, z, WHITE_LIGHT, 1, 5.0, 10.0, 6.0, glow=True)
        builder.decal_x(-length / 2, span, z, RED_LIGHT, -1, 5.0, -10.0, 6.0, glow=True)


def trailer(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    """A ribbed box on wheels."""
    length, width, height = size
    half_x, half_y = length / 2, width / 2
    paint = pick(style.large_paint, rng)
    builder.box((-half_x, half_x), (-half_y * 0.9, half_y * 0.9), (0.1, 0.3 * height), DARK)
    builder.box((-half_x, half_x), (-half_y, half_y), (0.28 * height, height), paint, 1.0)
    _wheels(builder, length * 0.6, width, min(0.5, 0.15 * height), 0.5)
    for facing in (-1, 1):  # ribs
        for x in np.linspace(-half_x * 0.9, half_x * 0.9, 9):
            rib = (0.3 * height, 0.97 * height)
            builder.decal_y(
                (x - 0.06, x + 0.06), facing * half_y, rib, paint * 0.7, facing, 2.0, min_px=20.0
            )
    _tail(builder, size, (0.2 * height, 0.27 * height))


def bus(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    """A long box with a band of windows and a lit sign."""
    length, width, height = size
    half_x, half_y = length / 2, width / 2
    paint = pick(style.bus_paint, rng)
    builder.box((-half_x, half_x), (-half_y, half_y), (0.0, 0.12 * height), DARK)
    rounded = (0.02 * length, 0.01 * length, 0.03 * width)
    roof = paint * 0.5 + 110.0
    body = (0.1 * height, height)
    builder.box((-half_x, half_x), (-half_y, half_y), body, paint, 1.0, top=rounded, roof=roof)
    _wheels(builder, length, width, 0.16 * height, 0.3)
    glass = (0.46 * height, 0.8 * height)
    for facing in (-1, 1):
        y = facing * half_y
        builder.decal_y((-half_x * 0.95, half_x * 0.97), y, glass, GLASS, facing, 2.0, min_px=5.0)
        for x in np.linspace(-half_x * 0.7, half_x * 0.7, 6):
            builder.decal_y((x - 0.07, x + 0.07), y, glass, paint, facing, 3.0, min_px=20.0)
        stripe = (0.3 * height, 0.36 * height)
        builder.decal_y((-half_x, half_x), y, stripe, WHITE, facing, 2.0, min_px=16.0)
    windscreen = (0.36 * height, 0.82 * height)
    builder.decal_x(half_x, (-0.45 * width, 0.45 * width), windscreen, GLASS, 1, 2.0, min_px=5.0)
    sign = (0.85 * height, 0.95 * height)
    builder.decal_x(half_x, (-0.3 * width, 0.3 * width), sign, (40, 190, 255), 1, 2.0, glow=True)
    builder.decal_x(
        -half_x, (-0.35 * width, 0.35 * width), (0.55 * height, 0.8 * height), GLASS, -1, 2.0
    )
    _lights(builder, length, width, (0.2 * height, 0.27 * height))


def construction(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    """A digger: tracks, body, cab, arm and bucket."""
    length, width, height = size
    half_x, half_y = length / 2, width / 2
    builder.box((-half_x, 0.5 * half_x), (-half_y, half_y), (0.0, 0.28 * height), DARK)
    body = (0.26 * height, 0.6 * height)
    builder.box((-half_x, 0.45 * half_x), (-half_y * 0.9, half_y * 0.9), body, YELLOW, 1.0)
    cab = (0.58 * height, height)
    builder.box((-0.2 * half_x, 0.4 * half_x), (0.0, half_y * 0.85), cab, GLASS, 3.0, -1.0)
    arm_y = (-0.5 * half_y, -0.15 * half_y)
    builder.box((0.2 * half_x, half_x), arm_y, (0.45 * height, 0.75 * height), YELLOW, 3.0, 1.0)
    bucket = (0.75 * half_x, half_x)
    builder.box(bucket, (-half_y * 0.8, half_y * 0.4), (0.02, 0.45 * height), DARK, 4.0, 1.5)
