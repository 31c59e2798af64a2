# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Puts furniture into a room without overlaps: along walls, on walls, around tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nexusflow.world.indoor.solids import Floats, Scene, Solid, bounds_of

#: How often a place is looked for before a piece is left out.
_TRIES = 12
_GAP_M = 0.03
#: x, y, z and yaw of a piece's frame in the room.
Place = tuple[float, float, float, float]


class Arranger:
    """Keeps what is in a room and finds places for more.

    Args:
        scene: The room; pieces are added to its solids.
        rng: Chooses places.
    """

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        self._scene, self._rng = scene, rng
        self._taken: list[Floats] = []

    def along_wall(self, piece: Sequence[Solid]) -> bool:
        """Puts a piece with its back to a wall; says whether there was a place."""
        for _ in range(_TRIES):
            at = self._wall_place(bounds_of(piece), self._rng.uniform(0.0, 0.04))
            if self._put(piece, *at):
                return True
        return False

    def on_wall(self, piece: Sequence[Solid], height: tuple[float, float]) -> bool:
        """Hangs a piece on a wall, its z = 0 within a range of heights, metres."""
        for _ in range(_TRIES):
            x, y, _, yaw = self._wall_place(bounds_of(piece), 0.0)
            if self._put(piece, x, y, self._rng.uniform(*height), yaw):
                return True
        return False

    def in_the_middle(self, piece: Sequence[Solid], solid: bool = True) -> Place | None:
        """Puts a piece somewhere in the room.

        Args:
            piece: The piece.
            solid: Whether it takes space; a rug does not.

        Returns:
            Its x, y, z and yaw; None if there was no place.
        """
        low, high = bounds_of(piece)
        lx, ly, _ = self._scene.size
        for _ in range(_TRIES):
            x, y = self._rng.uniform(0.25, 0.75, 2) * (lx, ly)
            yaw = self._rng.integers(4) * math.pi / 2
            # The piece's frame starts at its back; its middle shall be at (x, y).
            x, y = x + math.sin(yaw) * high[1] / 2, y - math.cos(yaw) * high[1] / 2
            if self._put(piece, float(x), float(y), 0.0, float(yaw), solid):
                return float(x), float(y), 0.0, float(yaw)
        return None

    def around(self, piece: Sequence[Solid], at: Place, chair: Sequence[Solid], sides: int) -> None:
        """Puts chairs at the sides of a table that stands at x, y, z, yaw, facing it."""
        low, high = bounds_of(piece)
        half = (high - low)[:2] / 2
        middle = (low + high)[:2] / 2
        reach = bounds_of(chair)[1, 1]
        for side in self._rng.permutation(4)[:sides]:
            angle = side * math.pi / 2
            # The seat is partly below the board.
            far = half[1 - side % 2] + reach * self._rng.uniform(0.8, 1.15)
            x = middle[0] + math.sin(angle) * far
            y = middle[1] - math.cos(angle) * far
            turn = angle + self._rng.normal(0.0, 0.15)
            seat = [solid.moved(x, y, 0.0, turn) for solid in chair]
            self._put(seat, *at, gap=-0.3)

    def free(self, point: Floats, gap: float) -> bool:
        """Whether a point is at least `gap` metres from everything that takes space."""
        return not any(
            bool(((point > low - gap) & (point < high + gap)).all()) for low, high in self._taken
        )

    def _wall_place(self, bounds: Floats, gap: float) -> Place:
        """A random place at one of the four walls."""
        (low, _, _), (high, _, _) = bounds
        lx, ly, _ = self._scene.size
        wall = int(self._rng.integers(4))
        along = self._rng.uniform(0.0, 1.0)
        if wall in (0, 2):
            reach = along * max(lx - (high - low), 0.0)
            x = reach - low if wall == 0 else lx - reach + low
            return x, gap if wall == 0 else ly - gap, 0.0, wall * math.pi / 2
        reach = along * max(ly - (high - low), 0.0)
        y = reach - low if wall == 1 else ly - reach + low
        return lx - gap if wall == 1 else gap, y, 0.0, wall * math.pi / 2

    def _put(
        self,
        piece: Sequence[Solid],
        x: float,
        y: float,
        z: float,
        yaw: float,
        solid: bool = True,
        gap: float = _GAP_M,
    ) -> bool:
        """Adds a piece if it fits."""
        moved = [part.moved(x, y, z, yaw) for part in piece]
        low, high = bounds_of(moved)
        inside = (low > -1e-6).all() and (high < np.asarray(self._scene.size) + 1e-6).all()
        if not inside:
            return False
        if solid and any(
            bool(((low - gap < other[1]) & (high + gap > other[0])).all()) for other in self._taken
        ):
            return False
        self._scene.solids += moved
        if solid:
            self._taken.append(np.stack([low, high]))
        return True
