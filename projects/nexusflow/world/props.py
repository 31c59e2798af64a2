# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Shapes of things that do not move: buildings and trees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from nexusflow.world.mesh import Mesh, MeshBuilder, px_at
from nexusflow.world.scene import NDArrayFloat
from nexusflow.world.styles import CityStyle

_STOREY_M = 3.4
#: Detail is left out beyond these distances, metres.
_WINDOW_RANGE_M = 110.0
_PIER_RANGE_M = 55.0
_CROWN_SIDES = 6
_TRUNK = (48.0, 62.0, 78.0)


@dataclass(frozen=True)
class Prop:
    """A thing that does not move.

    Attributes:
        mesh: Its faces, own frame.
        xy_m: (2,) position, global frame.
        yaw_rad: Direction of its x axis.
        size_lwh_m: Length, width, height.
        solid: Whether it fills its box.
    """

    mesh: Mesh
    xy_m: NDArrayFloat
    yaw_rad: float
    size_lwh_m: tuple[float, float, float]
    solid: bool

    def footprint(self, grow_m: float = 0.0) -> NDArrayFloat:
        """(4, 2) corners on the ground, global frame, metres."""
        length, width, _ = self.size_lwh_m
        return footprint(self.xy_m, self.yaw_rad, length + 2 * grow_m, width + 2 * grow_m)


def footprint(xy_m: NDArrayFloat, yaw_rad: float, length_m: float, width_m: float) -> NDArrayFloat:
    """(4, 2) corners of a rectangle, counter-clockwise from the front left."""
    half = np.array([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]]) * (length_m, width_m)
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.asarray(half @ np.array([[cos, sin], [-sin, cos]]) + xy_m)


def building_mesh(size: tuple[float, float, float], wall: NDArrayFloat, style: CityStyle) -> Mesh:
    """A block with storeys of windows.

    Args:
        size: Length, width, height; metres.
        wall: Colour, BGR.
        style: The city's look.

    Returns:
        Faces; origin at the centre of the underside.
    """
    length, width, height = size
    half_x, half_y = length / 2, width / 2
    builder = MeshBuilder()
    builder.box((-half_x, half_x), (-half_y, half_y), (0.0, height), wall)
    share = style.wall_window_share
    storeys = max(int(height / _STOREY_M), 1)
    near = px_at(height, _WINDOW_RANGE_M)
    for storey in range(storeys):
        low = storey * _STOREY_M + (0.3 if storey == 0 else _STOREY_M * (1 - share) / 2)
        top = min(low + _STOREY_M * (0.75 if storey == 0 else share), height - 0.3)
        shade = style.glass * (0.6 if storey == 0 else 1.0)
        for facing in (-1, 1):
            y, x = (-half_y * 0.94, half_y * 0.94), (-half_x * 0.92, half_x * 0.92)
            builder.decal_x(facing * half_x, y, (low, top), shade, facing, 1.0, min_px=near)
            builder.decal_y(x, facing * half_y, (low, top), shade, facing, 1.0, min_px=near)
    rise = (_STOREY_M * 0.95, height - 0.4)
    if rise[1] > rise[0] + 1.0:
        _piers(builder, (half_x, half_y), rise, wall, px_at(height, _PIER_RANGE_M))
    return builder.build()


def _piers(
    builder: MeshBuilder,
    half_m: tuple[float, float],
    z: tuple[float, float],
    wall: NDArrayFloat,
    near: float,
) -> None:
    """Strips of wall between the windows."""
    half_x, half_y = half_m
    for facing in (-1, 1):
        for y in np.arange(-half_y + 3.0, half_y - 1.0, 3.0).tolist():
            pier = (y - 0.5, y + 0.5)
            builder.decal_x(facing * half_x, pier, z, wall, facing, 2.0, min_px=near)
        for x in np.arange(-half_x + 3.0, half_x - 1.0, 3.0).tolist():
            pier = (x - 0.5, x + 0.5)
            builder.decal_y(pier, facing * half_y, z, wall, facing, 2.0, min_px=near)


def tree_mesh(size: tuple[float, float, float], leaf: NDArrayFloat) -> Mesh:
    """A tree with a faceted crown.

    Args:
        size: Diameter twice, height; metres.
        leaf: Colour, BGR.

    Returns:
        Faces; origin at the foot.
    """
    unit = _unit_tree()
    is_leaf = unit.rank[:, None] > 0
    colors = np.where(is_leaf, unit.colors * leaf, unit.colors).astype(np.float32)
    return replace(unit, quads=unit.quads * np.array(size, np.float32), colors=colors)


@lru_cache(maxsize=1)
def _unit_tree() -> Mesh:
    """A tree of diameter and height 1; its leaves are shades to be coloured."""
    builder = MeshBuilder()
    trunk = (-0.03, 0.03)
    builder.box(trunk, trunk, (0.0, 0.45), _TRUNK)
    angles = np.arange(_CROWN_SIDES + 1) * (2 * np.pi / _CROWN_SIDES)
    rim = np.stack([np.cos(angles), np.sin(angles)], axis=1) / 2
    # Height and relative radius of the rings between which the crown's faces lie.
    profile = ((0.3, 0.45), (0.5, 1.0), (0.78, 0.86), (1.0, 0.25))
    for rank, ((z0, r0), (z1, r1)) in enumerate(pairwise(profile)):
        for a, b in pairwise(rim):
            corners = [(*(a * r0), z0), (*(b * r0), z0), (*(b * r1), z1), (*(a * r1), z1)]
            builder.quad(corners, np.full(3, 0.85 + 0.12 * rank), 1.0)
    return builder.build()
