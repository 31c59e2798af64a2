# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What a room is built from: boxes, balls and cylinders with a class and a material.

Room frame: metres, x and y along the walls from the room's corner, z up from the floor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Color = tuple[float, float, float]


@dataclass(frozen=True)
class Material:
    """How a surface looks.

    Attributes:
        pattern: A key of ``textures.PATTERNS``.
        color: Main colour, RGB in [0, 1].
        second: Colour of lines, frames, other tiles.
        scale_m: Size of the pattern's repetition, metres.
        glow: Light that the surface gives by itself, in units of its colour.
        seed: Decides the random parts of the pattern.
    """

    pattern: str
    color: Color
    second: Color = (0.1, 0.1, 0.1)
    scale_m: float = 0.2
    glow: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Solid:
    """A box, a ball (ellipsoid) or an upright cylinder, turned about the vertical.

    Attributes:
        shape: ``'box'``, ``'ball'`` or ``'cylinder'``.
        label: Class.
        material: Look.
        center: Its middle, metres.
        half: Half its extents along its own axes, metres.
        yaw: Turn about z, radians.
    """

    shape: str
    label: int
    material: Material
    center: tuple[float, float, float]
    half: tuple[float, float, float]
    yaw: float = 0.0

    def moved(self, x: float, y: float, z: float = 0.0, yaw: float = 0.0) -> Solid:
        """The solid turned about the vertical through the origin, then shifted."""
        c, s = math.cos(yaw), math.sin(yaw)
        cx, cy, cz = self.center
        center = (c * cx - s * cy + x, s * cx + c * cy + y, cz + z)
        return replace(self, center=center, yaw=self.yaw + yaw)

    def unit_matrix(self) -> Floats:
        """(3, 3) matrix that turns room directions into those of the unit shape."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
        return np.asarray(turn / np.asarray(self.half)[:, None])

    def bounds(self) -> Floats:
        """(2, 3) smallest and largest corner of the axis-aligned box around the solid."""
        c, s = abs(math.cos(self.yaw)), abs(math.sin(self.yaw))
        hx, hy, hz = self.half
        extent = np.array([c * hx + s * hy, s * hx + c * hy, hz])
        return np.stack([np.asarray(self.center) - extent, np.asarray(self.center) + extent])

    def corners(self) -> Floats:
        """(8, 3) corners of the turned box around the solid."""
        signs = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)]) * 2.0 - 1.0
        return np.asarray(np.linalg.solve(self.unit_matrix(), signs.T).T + self.center)


def block(
    label: int,
    material: Material,
    x: tuple[float, float],
    y: tuple[float, float],
    z: tuple[float, float],
    shape: str = 'box',
) -> Solid:
    """A solid from its extents along the three axes, metres."""
    low, high = np.array([x[0], y[0], z[0]]), np.array([x[1], y[1], z[1]])
    cx, cy, cz = (float(v) for v in (low + high) / 2.0)
    hx, hy, hz = (float(v) for v in (high - low) / 2.0)
    return Solid(shape, label, material, (cx, cy, cz), (hx, hy, hz))


@dataclass(frozen=True)
class Light:
    """A point light.

    Attributes:
        position: Metres.
        color: RGB strength at 1 m.
    """

    position: tuple[float, float, float]
    color: Color


@dataclass
class Scene:
    """A furnished room.

    Attributes:
        size: Its length along x, y and z, metres.
        shell: Walls, floor and ceiling.
        solids: Everything else.
        lights: The first one casts shadows.
        ambient: RGB light from everywhere.
    """

    size: tuple[float, float, float]
    shell: list[Solid]
    solids: list[Solid] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    ambient: Color = (0.4, 0.4, 0.4)

    def everything(self) -> list[Solid]:
        """Shell first, then the rest; positions in this list are the solids' numbers."""
        return [*self.shell, *self.solids]


def bounds_of(solids: Sequence[Solid]) -> Floats:
    """(2, 3) smallest and largest corner around several solids."""
    boxes = np.stack([solid.bounds() for solid in solids])
    return np.stack([boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)])
