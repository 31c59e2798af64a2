# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The shapes of road users and road works, each fitted into its labelled box."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

import numpy as np

from nexusflow.world.mesh import Mesh, MeshBuilder
from nexusflow.world.scene import NDArrayFloat, Track
from nexusflow.world.styles import CityStyle

_DARK: Final = (34.0, 32.0, 30.0)
_GLASS: Final = (72.0, 62.0, 54.0)
_WHITE_LIGHT: Final = (235.0, 250.0, 255.0)
_RED_LIGHT: Final = (40.0, 30.0, 215.0)
_PLATE: Final = (225.0, 228.0, 228.0)
_SKIN: Final = np.array([[130.0, 165.0, 215.0], [90.0, 125.0, 175.0], [60.0, 80.0, 115.0]])
_ORANGE: Final = (20.0, 105.0, 245.0)
_WHITE: Final = (235.0, 235.0, 235.0)
_RED: Final = (45.0, 40.0, 200.0)
_YELLOW: Final = (30.0, 175.0, 235.0)


def seeded_rng(*names: object) -> np.random.Generator:
    """A generator that depends on nothing but the names."""
    return np.random.default_rng(zlib.crc32('/'.join(map(str, names)).encode()))


def object_mesh(track: Track, style: CityStyle, rng: np.random.Generator) -> Mesh:
    """The shape of a track.

    Args:
        track: Its category selects the shape, its size scales it.
        style: Colours.
        rng: Chooses among them.

    Returns:
        Faces inside the track's box; origin at the centre of the box's underside.
    """
    builder = MeshBuilder()
    width, length, height = track.size_wlh_m
    _shape_for(track.category)(builder, np.array([length, width, height]), style, rng)
    return builder.build()


_Shape = Callable[[MeshBuilder, NDArrayFloat, CityStyle, np.random.Generator], None]


def _shape_for(category: str) -> _Shape:
    for prefix, shape in _SHAPES.items():
        if category.startswith(prefix):
            return shape
    return _crate


def _pick(palette: NDArrayFloat, rng: np.random.Generator) -> NDArrayFloat:
    color = palette[rng.integers(len(palette))] + rng.normal(0.0, 6.0, 3)
    return np.asarray(np.clip(color, 8.0, 250.0))


def _wheels(builder: MeshBuilder, length: float, width: float, radius: float, at: float) -> None:
    for x in (-at * length, at * length):
        for facing in (-1, 1):
            builder.wheel(x, facing * width / 2, radius, facing)


def _lights(builder: MeshBuilder, length: float, width: float, z: tuple[float, float]) -> None:
    outer, inner = width * 0.48, width * 0.26
    for side in (-1, 1):
        y = (min(side * outer, side * inner), max(side * outer, side * inner))
        builder.decal_x(length / 2, y, z, _WHITE_LIGHT, 1, 2.0, min_px=6.0, glow=True)
        builder.decal_x(-length / 2, y, z, _RED_LIGHT, -1, 2.0, min_px=6.0, glow=True)
    plate = (z[0] - 0.35 * (z[1] - z[0]), z[0] + 0.4 * (z[1] - z[0]))
    builder.decal_x(-length / 2, (-width * 0.13, width * 0.13), plate, _PLATE, -1, 2.0, min_px=24.0)


def _car(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    length, width, height = size
    paint = _pick(style.car_paint, rng)
    hatch = height > 1.7 or rng.random() < 0.35
    rear, front = (-0.49, 0.27) if hatch else (-0.40, 0.24)
    waist = 0.56 * height
    half_x, half_y = length / 2, width / 2
    builder.box((-half_x * 0.96, half_x * 0.96), (-half_y, half_y), (0.0, 0.2 * height), _DARK, 0.0)
    nose = (0.0, 0.03 * length, 0.04 * width)
    builder.box((-half_x, half_x), (-half_y, half_y), (0.14 * height, waist), paint, 1.0, top=nose)
    _wheels(builder, length, width, 0.2 * height, 0.31)
    _lights(builder, length, width, (0.36 * height, 0.48 * height))
    builder.decal_x(
        half_x, (-width * 0.24, width * 0.24), (0.2 * height, 0.36 * height), _DARK, 1, min_px=20.0
    )
    cabin_x = (rear * length, front * length)
    cabin_y = (-half_y * 0.94, half_y * 0.94)
    drawn_in = (0.04 * length if hatch else 0.09 * length, 0.14 * length, 0.09 * width)
    builder.box(cabin_x, cabin_y, (waist, height), _GLASS, 4.0, top=drawn_in, roof=paint)
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


def _emergency(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    length, width, height = size
    builder.box(
        (-length / 2, length / 2), (-width / 2, width / 2), (0.12 * height, 0.9 * height), _WHITE
    )
    for facing in (-1, 1):
        band = (0.4 * height, 0.52 * height)
        builder.decal_y((-length / 2, length / 2), facing * width / 2, band, _RED, facing, min_px=8)
    _wheels(builder, length, width, 0.17 * height, 0.32)
    _lights(builder, length, width, (0.28 * height, 0.38 * height))
    glass = (0.55 * height, 0.84 * height)
    builder.decal_x(length / 2, (-0.42 * width, 0.42 * width), glass, _GLASS, 1)
    bar = (0.2 * length, 0.28 * length)
    builder.box(bar, (-0.35 * width, 0.35 * width), (0.9 * height, height), (220, 60, 40), 5.0)


def _truck(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    length, width, height = size
    paint, cargo = _pick(style.car_paint, rng), _pick(style.large_paint, rng)
    half_x, half_y = length / 2, width / 2
    split = half_x - min(0.3 * length, 2.2)
    builder.box((-half_x, half_x), (-half_y * 0.9, half_y * 0.9), (0.1, 0.2 * height), _DARK, -1.0)
    _wheels(builder, length, width, min(0.5, 0.17 * height), 0.36)
    deck = (0.2 * height, height)
    builder.box((-half_x, split - 0.1), (-half_y, half_y), deck, cargo, 3.0, -10.0)
    for facing in (-1, 1):
        panel = (0.45 * height, 0.72 * height)
        span = (-half_x * 0.9, split - 0.5)
        builder.decal_y(span, facing * half_y, panel, paint, facing, 4.0, -10.0, 18.0)
    door = (0.24 * height, 0.94 * height)
    builder.decal_x(-half_x, (-0.02, 0.02), door, _DARK, -1, 4.0, -10.0, 30.0)
    cab_top = 0.86 * height
    cab = (split, half_x)
    nose = (0.0, 0.12 * (half_x - split), 0.03 * width)
    builder.box(cab, (-half_y, half_y), (0.12 * height, cab_top), paint, 3.0, 10.0, top=nose)
    glass = (0.5 * height, 0.78 * height)
    builder.decal_x(half_x, (-0.44 * width, 0.44 * width), glass, _GLASS, 1, 4.0, 10.0, 6.0)
    for facing in (-1, 1):
        window = (split + 0.25, half_x - 0.3)
        builder.decal_y(window, facing * half_y, glass, _GLASS, facing, 4.0, 10.0)
    _tail(builder, size, (0.13 * height, 0.2 * height))


def _tail(builder: MeshBuilder, size: NDArrayFloat, z: tuple[float, float]) -> None:
    """Lamps of long vehicles, drawn last at their end."""
    length, width, _ = size
    for side in (-1, 1):
        y = tuple(sorted((side * width * 0.47, side * width * 0.3)))
        span = (y[0], y[1])
        builder.decal_x(length / 2, span, z, _WHITE_LIGHT, 1, 5.0, 10.0, 6.0, glow=True)
        builder.decal_x(-length / 2, span, z, _RED_LIGHT, -1, 5.0, -10.0, 6.0, glow=True)


def _trailer(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    length, width, height = size
    half_x, half_y = length / 2, width / 2
    paint = _pick(style.large_paint, rng)
    builder.box((-half_x, half_x), (-half_y * 0.9, half_y * 0.9), (0.1, 0.3 * height), _DARK)
    builder.box((-half_x, half_x), (-half_y, half_y), (0.28 * height, height), paint, 1.0)
    _wheels(builder, length * 0.6, width, min(0.5, 0.15 * height), 0.5)
    for facing in (-1, 1):  # ribs
        for x in np.linspace(-half_x * 0.9, half_x * 0.9, 9):
            rib = (0.3 * height, 0.97 * height)
            builder.decal_y(
                (x - 0.06, x + 0.06), facing * half_y, rib, paint * 0.7, facing, 2.0, min_px=20.0
            )
    _tail(builder, size, (0.2 * height, 0.27 * height))


def _bus(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    length, width, height = size
    half_x, half_y = length / 2, width / 2
    paint = _pick(style.bus_paint, rng)
    builder.box((-half_x, half_x), (-half_y, half_y), (0.0, 0.12 * height), _DARK)
    rounded = (0.02 * length, 0.01 * length, 0.03 * width)
    roof = paint * 0.5 + 110.0
    body = (0.1 * height, height)
    builder.box((-half_x, half_x), (-half_y, half_y), body, paint, 1.0, top=rounded, roof=roof)
    _wheels(builder, length, width, 0.16 * height, 0.3)
    glass = (0.46 * height, 0.8 * height)
    for facing in (-1, 1):
        y = facing * half_y
        builder.decal_y((-half_x * 0.95, half_x * 0.97), y, glass, _GLASS, facing, 2.0, min_px=5.0)
        for x in np.linspace(-half_x * 0.7, half_x * 0.7, 6):
            builder.decal_y((x - 0.07, x + 0.07), y, glass, paint, facing, 3.0, min_px=20.0)
        stripe = (0.3 * height, 0.36 * height)
        builder.decal_y((-half_x, half_x), y, stripe, _WHITE, facing, 2.0, min_px=16.0)
    windscreen = (0.36 * height, 0.82 * height)
    builder.decal_x(half_x, (-0.45 * width, 0.45 * width), windscreen, _GLASS, 1, 2.0, min_px=5.0)
    sign = (0.85 * height, 0.95 * height)
    builder.decal_x(half_x, (-0.3 * width, 0.3 * width), sign, (40, 190, 255), 1, 2.0, glow=True)
    builder.decal_x(
        -half_x, (-0.35 * width, 0.35 * width), (0.55 * height, 0.8 * height), _GLASS, -1, 2.0
    )
    _lights(builder, length, width, (0.2 * height, 0.27 * height))


def _construction(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    length, width, height = size
    half_x, half_y = length / 2, width / 2
    builder.box((-half_x, 0.5 * half_x), (-half_y, half_y), (0.0, 0.28 * height), _DARK)
    body = (0.26 * height, 0.6 * height)
    builder.box((-half_x, 0.45 * half_x), (-half_y * 0.9, half_y * 0.9), body, _YELLOW, 1.0)
    cab = (0.58 * height, height)
    builder.box((-0.2 * half_x, 0.4 * half_x), (0.0, half_y * 0.85), cab, _GLASS, 3.0, -1.0)
    arm_y = (-0.5 * half_y, -0.15 * half_y)
    builder.box((0.2 * half_x, half_x), arm_y, (0.45 * height, 0.75 * height), _YELLOW, 3.0, 1.0)
    bucket = (0.75 * half_x, half_x)
    builder.box(bucket, (-half_y * 0.8, half_y * 0.4), (0.02, 0.45 * height), _DARK, 4.0, 1.5)


def _two_wheeler(
    builder: MeshBuilder, size: NDArrayFloat, frame: NDArrayFloat, bulk: float, shirt: NDArrayFloat
) -> None:
    length, width, height = size
    radius = min(0.24 * height, 0.2 * length)
    for x in (-length / 2 + radius, length / 2 - radius):
        for facing in (-1, 1):
            builder.wheel(x, facing * 0.03 * width, radius, facing)
        rim = (x - 0.8 * radius, x + 0.8 * radius)
        builder.box(rim, (-0.06 * width, 0.06 * width), (0.0, 2 * radius), _DARK, -1.0)
    half = bulk * width
    middle = (-0.32 * length, 0.34 * length)
    builder.box(middle, (-half, half), (0.2 * height, 0.46 * height), frame, 1.0)
    legs = (-0.12 * length, 0.1 * length)
    builder.box(legs, (-0.3 * width, 0.3 * width), (0.25 * height, 0.52 * height), _DARK, 3.0)
    bar = (0.22 * length, 0.28 * length)
    builder.box(bar, (-width / 2, width / 2), (0.54 * height, 0.58 * height), _DARK, 3.5)
    torso = (-0.2 * length, 0.06 * length)
    builder.box(
        torso,
        (-0.38 * width, 0.38 * width),
        (0.5 * height, 0.85 * height),
        shirt,
        4.0,
        top=(0.05 * length, -0.04 * length, 0.06 * width),
    )
    lamp_z = (0.46 * height, 0.52 * height)
    lamp_y = (-0.1 * width, 0.1 * width)
    builder.decal_x(0.34 * length, lamp_y, lamp_z, _WHITE_LIGHT, 1, 5.0, glow=True)
    builder.decal_x(-0.32 * length, lamp_y, lamp_z, _RED_LIGHT, -1, 5.0, glow=True)


def _motorcycle(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    length, width, height = size
    _two_wheeler(builder, size, _pick(style.car_paint, rng), 0.28, _pick(style.clothes, rng))
    helmet = (-0.1 * length, 0.08 * length)
    paint = _pick(style.car_paint, rng)
    builder.box(helmet, (-0.18 * width, 0.18 * width), (0.84 * height, height), paint, 5.0)


def _bicycle(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    length, width, height = size
    _two_wheeler(builder, size, np.array([90.0, 90.0, 90.0]), 0.06, _pick(style.clothes, rng))
    head = (-0.06 * length, 0.07 * length)
    skin = _pick(_SKIN, rng)
    builder.box(head, (-0.16 * width, 0.16 * width), (0.85 * height, height), skin, 5.0)


def _pedestrian(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    length, width, height = size
    half_x, half_y = length / 2, width / 2
    shirt, trousers = _pick(style.clothes, rng), _pick(style.clothes, rng) * 0.6
    stride = 0.45 * half_x
    for side in (-1, 1):
        x = (side * stride - 0.4 * half_x, side * stride + 0.4 * half_x)
        y = tuple(sorted((side * 0.08 * half_y, side * 0.55 * half_y)))
        leg = (0.0, 0.48 * height)
        lean = (-side * 0.3 * half_x, side * 0.3 * half_x, 0.0)
        builder.box(x, (y[0], y[1]), leg, trousers, 0.0, side * 0.5, top=lean)
    body_z = (0.46 * height, 0.84 * height)
    taper = (0.0, 0.0, 0.12 * half_y)
    body_x = (-0.5 * half_x, 0.5 * half_x)
    builder.box(body_x, (-0.78 * half_y, 0.78 * half_y), body_z, shirt, 2.0, top=taper)
    for side in (-1, 1):
        arm = tuple(sorted((side * 0.78 * half_y, side * half_y)))
        swing = (-0.4 * half_x, 0.4 * half_x)
        builder.box(swing, (arm[0], arm[1]), (0.44 * height, 0.8 * height), shirt * 0.8, 1.0)
    face, hair = _pick(_SKIN, rng), _pick(_SKIN * 0.25, rng)
    head_y = (-0.38 * half_y, 0.38 * half_y)
    builder.box(
        (-0.4 * half_x, 0.4 * half_x), head_y, (0.85 * height, height), face, 3.0, roof=hair
    )
    builder.decal_x(-0.4 * half_x, head_y, (0.87 * height, height), hair, -1, 4.0)


def _cone(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    length, width, height = size
    half_x, half_y = length / 2, width / 2
    builder.box((-half_x, half_x), (-half_y, half_y), (0.0, 0.06 * height), _ORANGE)
    reach = 0.8
    for low, high, color in ((0.06, 0.4, _ORANGE), (0.4, 0.66, _WHITE), (0.66, 1.0, _ORANGE)):
        at_low, at_high = (reach * (1.0 - 0.85 * z) for z in (low, high))
        x, y = half_x * at_low, half_y * at_low
        drawn_in = (half_x * (at_low - at_high),) * 2
        top = (*drawn_in, half_y * (at_low - at_high))
        builder.box((-x, x), (-y, y), (low * height, high * height), color, 1.0 + low, top=top)


def _barrier(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    length, width, height = size
    builder.box((-length / 2, length / 2), (-width / 2, width / 2), (0.0, height), _WHITE)
    along_x = length >= width
    span = max(length, width)
    count = max(int(round(span / 0.5)), 3)
    edges = np.linspace(-span / 2, span / 2, count + 1)
    band = (0.3 * height, 0.95 * height)
    for first, last in zip(edges[::2], edges[1::2]):
        for facing in (-1, 1):
            if along_x:
                builder.decal_y((first, last), facing * width / 2, band, _RED, facing, min_px=5.0)
            else:
                builder.decal_x(facing * length / 2, (first, last), band, _RED, facing, min_px=5.0)


def _crate(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    length, width, height = size
    gray = np.full(3, rng.uniform(70.0, 150.0))
    builder.box((-length / 2, length / 2), (-width / 2, width / 2), (0.0, height), gray)


_SHAPES: Final[dict[str, _Shape]] = {
    'vehicle.car': _car,
    'vehicle.truck': _truck,
    'vehicle.trailer': _trailer,
    'vehicle.bus': _bus,
    'vehicle.construction': _construction,
    'vehicle.emergency': _emergency,
    'vehicle.motorcycle': _motorcycle,
    'vehicle.bicycle': _bicycle,
    'human.pedestrian': _pedestrian,
    'movable_object.trafficcone': _cone,
    'movable_object.barrier': _barrier,
}
