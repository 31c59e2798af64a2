# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Shapes of things that do not move: buildings and trees."""

from __future__ import annotations

from dataclasses import dataclass
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
    half = length / 2, width / 2
    builder = MeshBuilder()
    builder.box((-half[0], half[0]), (-half[1], half[1]), (0.0, height), wall)
    share = style.wall_window_share
    storey = np.arange(max(int(height / _STOREY_M), 1))
    ground = storey == 0
    low = storey * _STOREY_M + np.where(ground, 0.3, _STOREY_M * (1 - share) / 2)
    top = np.minimum(low + _STOREY_M * np.where(ground, 0.75, share), height - 0.3)
    windows = np.stack([low, top], axis=1)
    glass = style.glass * np.where(ground, 0.6, 1.0)[:, None]
    far, near = px_at(height, _WINDOW_RANGE_M), px_at(height, _PIER_RANGE_M)
    parts = [builder.build()]
    for axis, inset in ((0, 0.94), (1, 0.92)):
        across = half[1 - axis]
        span = np.array([[-across, across]]) * inset
        parts.append(Mesh.panels(axis, half[axis], span, windows, glass, 1.0, far))
    rise = np.array([[_STOREY_M * 0.95, height - 0.4]])
    if rise[0, 1] > rise[0, 0] + 1.0:
        for axis in (0, 1):
            across = half[1 - axis]
            piers = np.arange(3.0 - across, across - 1.0, 3.0)[:, None] + (-0.5, 0.5)
            parts.append(Mesh.panels(axis, half[axis], piers, rise, wall, 2.0, near))
    return Mesh.concatenate(parts)


def tree_mesh(size: tuple[float, float, float], leaf: NDArrayFloat) -> Mesh:
    """A tree with a faceted crown.

    Args:
        size: Diameter twice, height; metres.
        leaf: Colour, BGR.

    Returns:
        Faces; origin at the foot.
    """
    unit = _unit_tree()
    looks = unit.looks.copy()
    looks[unit.rank > 0, :3] *= leaf
    return Mesh(unit.quads * np.array(size, np.float32), looks)


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
