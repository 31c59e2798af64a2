# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The shapes of road users and road works, each fitted into its labelled box."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

import numpy as np

from nexusflow.world import vehicles
from nexusflow.world.mesh import Mesh, MeshBuilder
from nexusflow.world.paints import DARK, ORANGE, RED, RED_LIGHT, SKIN, WHITE, WHITE_LIGHT, pick
from nexusflow.world.scene import NDArrayFloat, Track
from nexusflow.world.styles import CityStyle


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


def _two_wheeler(
    builder: MeshBuilder, size: NDArrayFloat, frame: NDArrayFloat, bulk: float, shirt: NDArrayFloat
) -> None:
    """Wheels, frame and rider."""
    length, width, height = size
    radius = min(0.24 * height, 0.2 * length)
    for x in (-length / 2 + radius, length / 2 - radius):
        for facing in (-1, 1):
            builder.wheel(x, facing * 0.03 * width, radius, facing)
        rim = (x - 0.8 * radius, x + 0.8 * radius)
        builder.box(rim, (-0.06 * width, 0.06 * width), (0.0, 2 * radius), DARK, -1.0)
    half = bulk * width
    middle = (-0.32 * length, 0.34 * length)
    builder.box(middle, (-half, half), (0.2 * height, 0.46 * height), frame, 1.0)
    legs = (-0.12 * length, 0.1 * length)
    builder.box(legs, (-0.3 * width, 0.3 * width), (0.25 * height, 0.52 * height), DARK, 3.0)
    bar = (0.22 * length, 0.28 * length)
    builder.box(bar, (-width / 2, width / 2), (0.54 * height, 0.58 * height), DARK, 3.5)
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
    builder.decal_x(0.34 * length, lamp_y, lamp_z, WHITE_LIGHT, 1, 5.0, glow=True)
    builder.decal_x(-0.32 * length, lamp_y, lamp_z, RED_LIGHT, -1, 5.0, glow=True)


def _motorcycle(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    """A motorcycle with a helmeted rider."""
    length, width, height = size
    _two_wheeler(builder, size, pick(style.car_paint, rng), 0.28, pick(style.clothes, rng))
    helmet = (-0.1 * length, 0.08 * length)
    paint = pick(style.car_paint, rng)
    builder.box(helmet, (-0.18 * width, 0.18 * width), (0.84 * height, height), paint, 5.0)


def _bicycle(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    """A bicycle with a rider."""
    length, width, height = size
    _two_wheeler(builder, size, np.array([90.0, 90.0, 90.0]), 0.06, pick(style.clothes, rng))
    head = (-0.06 * length, 0.07 * length)
    skin = pick(SKIN, rng)
    builder.box(head, (-0.16 * width, 0.16 * width), (0.85 * height, height), skin, 5.0)


def _pedestrian(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    """A person in mid-stride."""
    length, width, height = size
    half_x, half_y = length / 2, width / 2
    shirt, trousers = pick(style.clothes, rng), pick(style.clothes, rng) * 0.6
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
    face, hair = pick(SKIN, rng), pick(SKIN * 0.25, rng)
    head_y = (-0.38 * half_y, 0.38 * half_y)
    builder.box(
        (-0.4 * half_x, 0.4 * half_x), head_y, (0.85 * height, height), face, 3.0, roof=hair
    )
    builder.decal_x(-0.4 * half_x, head_y, (0.87 * height, height), hair, -1, 4.0)


def _cone(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    """A traffic cone with a white band."""
    length, width, height = size
    half_x, half_y = length / 2, width / 2
    builder.box((-half_x, half_x), (-half_y, half_y), (0.0, 0.06 * height), ORANGE)
    reach = 0.8
    for low, high, color in ((0.06, 0.4, ORANGE), (0.4, 0.66, WHITE), (0.66, 1.0, ORANGE)):
        at_low, at_high = (reach * (1.0 - 0.85 * z) for z in (low, high))
        x, y = half_x * at_low, half_y * at_low
        drawn_in = (half_x * (at_low - at_high),) * 2
        top = (*drawn_in, half_y * (at_low - at_high))
        builder.box((-x, x), (-y, y), (low * height, high * height), color, 1.0 + low, top=top)


def _barrier(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    """A barrier striped red and white."""
    length, width, height = size
    builder.box((-length / 2, length / 2), (-width / 2, width / 2), (0.0, height), WHITE)
    along_x = length >= width
    span = max(length, width)
    count = max(int(round(span / 0.5)), 3)
    edges = np.linspace(-span / 2, span / 2, count + 1)
    band = (0.3 * height, 0.95 * height)
    for first, last in zip(edges[::2], edges[1::2], strict=False):
        for facing in (-1, 1):
            if along_x:
                builder.decal_y((first, last), facing * width / 2, band, RED, facing, min_px=5.0)
            else:
                builder.decal_x(facing * length / 2, (first, last), band, RED, facing, min_px=5.0)


def _crate(
    builder: MeshBuilder, size: NDArrayFloat, style: CityStyle, rng: np.random.Generator
) -> None:
    """A grey box: everything without a shape of its own."""
    length, width, height = size
    gray = np.full(3, rng.uniform(70.0, 150.0))
    builder.box((-length / 2, length / 2), (-width / 2, width / 2), (0.0, height), gray)


_SHAPES: Final[dict[str, _Shape]] = {
    'vehicle.car': vehicles.car,
    'vehicle.truck': vehicles.truck,
    'vehicle.trailer': vehicles.trailer,
    'vehicle.bus': vehicles.bus,
    'vehicle.construction': vehicles.construction,
    'vehicle.emergency': vehicles.emergency,
    'vehicle.motorcycle': _motorcycle,
    'vehicle.bicycle': _bicycle,
    'human.pedestrian': _pedestrian,
    'movable_object.trafficcone': _cone,
    'movable_object.barrier': _barrier,
}
