# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Shaded quadrilaterals: the material that everything above the ground is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nexusflow.world.scene import NDArrayFloat

#: Height in pixels of a thing 1 m high at 1 m, by which detail is chosen: nuScenes' focal length at twice 320 pixels.
_DETAIL_FOCAL_PX = 506.0
Color = NDArrayFloat | Sequence[float]
Corners = Sequence[tuple[float, float, float]]
#: Corners of the six faces of a box, counter-clockwise seen from outside; corner i has bits (x, y, z) of i.
_BOX_FACES = {
    'front': (1, 3, 7, 5),
    'rear': (2, 0, 4, 6),
    'left': (3, 2, 6, 7),
    'right': (0, 1, 5, 4),
    'top': (4, 5, 7, 6),
}


def px_at(height_m: float, distance_m: float) -> float:
    """Height in the image by which detail is chosen (``Mesh.min_px``); the same for every image size."""
    return _DETAIL_FOCAL_PX * height_m / distance_m


@dataclass(frozen=True)
class Mesh:
    """Convex quadrilaterals in an object's own frame: x forward, y left, z up from the ground, metres.

    Attributes:
        quads: (F, 4, 3) corners, counter-clockwise seen from outside.
        looks: (F, 7) the columns that the properties name.
    """

    quads: NDArray[np.float32]
    looks: NDArray[np.float32]

    @property
    def colors(self) -> NDArray[np.float32]:
        """(F, 3) BGR in [0, 255]."""
        return self.looks[:, :3]

    @property
    def rank(self) -> NDArray[np.float32]:
        """(F,) painting order: low first."""
        return self.looks[:, 3]

    @property
    def axial_rank(self) -> NDArray[np.float32]:
        """(F,) added to the rank when the camera is in front of x = 0, subtracted when behind."""
        return self.looks[:, 4]

    @property
    def min_px(self) -> NDArray[np.float32]:
        """(F,) the face is left out when ``px_at`` of its object is lower."""
        return self.looks[:, 5]

    @property
    def glow(self) -> NDArray[np.float32]:
        """(F,) 1 for lights, which ignore shading, else 0."""
        return self.looks[:, 6]

    @classmethod
    def panels(
        cls,
        axis: int,
        at_m: float,
        span_m: NDArrayFloat,
        z_m: NDArrayFloat,
        colors: NDArrayFloat,
        rank: float,
        min_px: float,
    ) -> Mesh:
        """Upright rectangles on two opposite walls of a block around the origin.

        Args:
            axis: 0: the walls face forward and back; 1: left and right.
            at_m: Distance of the walls from the origin.
            span_m: (N, 2) extent of the rectangles along the walls; or (1, 2) for all.
            z_m: (N, 2) their lower and upper ends; or (1, 2) for all.
            colors: (N, 3) or (3,) BGR.
            rank: Of all faces.
            min_px: Of all faces.

        Returns:
            2 N faces.
        """
        count = max(len(span_m), len(z_m))
        quads = np.zeros((2, count, 4, 3), dtype=np.float32)
        # Counter-clockwise seen from outside, on the wall at +at_m and on the one at -at_m.
        for quad, side in zip(quads, (1, -1), strict=True):
            turn = [0, 1, 1, 0] if side == 1 - 2 * axis else [1, 0, 0, 1]
            quad[..., 1 - axis] = span_m[:, turn]
            quad[..., axis] = side * at_m
        quads[..., 2] = z_m[:, [0, 0, 1, 1]]
        looks = np.zeros((2, count, 7), dtype=np.float32)
        looks[..., :3], looks[..., 3], looks[..., 5] = colors, rank, min_px
        return cls(quads.reshape(-1, 4, 3), looks.reshape(-1, 7))

    @classmethod
    def concatenate(cls, meshes: Sequence[Mesh]) -> Mesh:
        """All faces of several meshes, in order."""
        empty = MeshBuilder().build()
        quads = np.concatenate([empty.quads, *(m.quads for m in meshes)])
        return cls(quads, np.concatenate([empty.looks, *(m.looks for m in meshes)]))


@dataclass
class MeshBuilder:
    """Collects faces; sizes are metres in the object's frame."""

    _quads: list[Corners] = field(default_factory=list)
    _looks: list[tuple[float, ...]] = field(default_factory=list)

    def quad(
        self,
        corners: Corners,
        color: Color,
        rank: float = 0.0,
        axial_rank: float = 0.0,
        min_px: float = 0.0,
        glow: bool = False,
    ) -> None:
        """Adds one face; see ``Mesh`` for the arguments."""
        self._quads.append(corners)
        self._looks.append((*color, rank, axial_rank, min_px, float(glow)))

    def box(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        z: tuple[float, float],
        color: Color,
        rank: float = 0.0,
        axial_rank: float = 0.0,
        min_px: float = 0.0,
        top: tuple[float, float, float] = (0.0, 0.0, 0.0),
        roof: Color | None = None,
    ) -> None:
        """Adds a box, or a frustum; the underside, never seen, is left out.

        Args:
            x: Rear and front end.
            y: Right and left end.
            z: Lower and upper end.
            color: Sides.
            rank: See ``Mesh``.
            axial_rank: See ``Mesh``.
            min_px: See ``Mesh``.
            top: How far the upper face is drawn in at the rear, at the front and at either side.
            roof: Colour of the upper face; the sides' colour if not given.
        """
        rear, front, side = top
        low = [(a, b, z[0]) for b in y for a in x]
        high = [
            (a, b, z[1]) for b in (y[0] + side, y[1] - side) for a in (x[0] + rear, x[1] - front)
        ]
        corners = low + high
        for name, index in _BOX_FACES.items():
            paint = roof if name == 'top' and roof is not None else color
            self.quad([corners[i] for i in index], paint, rank, axial_rank, min_px)

    def decal_x(
        self,
        x: float,
        y: tuple[float, float],
        z: tuple[float, float],
        color: Color,
        facing: int,
        rank: float = 1.0,
        axial_rank: float = 0.0,
        min_px: float = 14.0,
        glow: bool = False,
    ) -> None:
        """Adds a rectangle in a plane across the length; ``facing`` +1 is seen from the front."""
        corners = [(x, y[0], z[0]), (x, y[1], z[0]), (x, y[1], z[1]), (x, y[0], z[1])]
        self.quad(corners[::facing], color, rank, axial_rank, min_px, glow)

    def decal_y(
        self,
        x: tuple[float, float],
        y: float,
        z: tuple[float, float],
        color: Color,
        facing: int,
        rank: float = 1.0,
        axial_rank: float = 0.0,
        min_px: float = 14.0,
    ) -> None:
        """Adds a rectangle in a plane along the length; ``facing`` +1 is seen from the left."""
        corners = [(x[1], y, z[0]), (x[0], y, z[0]), (x[0], y, z[1]), (x[1], y, z[1])]
        self.quad(corners[::facing], color, rank, axial_rank, min_px)

    def wheel(
        self, x: float, y: float, radius: float, facing: int, axial_rank: float = 0.0
    ) -> None:
        """Adds a dark wheel, seen from the side: a hexagon of two quadrilaterals and a hub."""
        dark, hub = (28.0, 26.0, 26.0), (120.0, 118.0, 116.0)
        half = radius * 0.5
        for z_end in (0.0, 2 * radius):
            corners = [
                (x + radius, y, radius),
                (x - radius, y, radius),
                (x - half, y, z_end),
                (x + half, y, z_end),
            ]
            # The upper half runs counter-clockwise seen from the left, the lower one clockwise.
            order = facing if z_end else -facing
            self.quad(corners[::order], dark, 2.0, axial_rank, 8.0)
        span = (x - half * 0.8, x + half * 0.8)
        self.decal_y(span, y, (radius * 0.6, radius * 1.4), hub, facing, 3.0, axial_rank, 40.0)

    def build(self) -> Mesh:
        """The collected faces."""
        looks = np.array(self._looks, dtype=np.float32).reshape(-1, 7)
        return Mesh(np.array(self._quads, dtype=np.float32).reshape(-1, 4, 3), looks)
