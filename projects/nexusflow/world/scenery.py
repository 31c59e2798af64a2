# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Buildings and trees: placed by a hash of the place, beside roads and walkways, never on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nexusflow.world.drawing import SHIFT, UInt8Image, Window, fill_convex, footprints
from nexusflow.world.ground_plan import Surface
from nexusflow.world.props import Prop, building_mesh, tree_mesh
from nexusflow.world.scene import NDArrayFloat
from nexusflow.world.styles import CityStyle

#: Space between lots, metres.
_BUILDING_LOT_M = 7.0
_TREE_LOT_M = 5.0
#: Buildings deeper in a block than this stand free, metres from the nearest pavement.
_FIRST_ROW_M = 28.0


def place_scenery(
    surface: UInt8Image, window: Window, keep_clear: UInt8Image, style: CityStyle, seed: int
) -> list[Prop]:
    """Places buildings and trees.

    Args:
        surface: (H, W) ``Surface`` classes of the window.
        window: Where.
        keep_clear: (H, W) non-zero where nothing may stand besides roads and walkways.
        style: The city's look.
        seed: The same place with the same seed grows the same things.

    Returns:
        The things.
    """
    free = ((surface == Surface.VEGETATION) & (keep_clear == 0)).astype(np.uint8)
    site = _Site(free, window)
    props = list(_buildings(site, style, seed))
    props.extend(_trees(site, style, seed + 1))
    return props


class _Plot(NamedTuple):
    """A convex piece of ground on the raster.

    Attributes:
        outline: (P, 2) as ``fixed_point`` makes it.
        corner: (2,) first column and row, fixed point too.
        box: First column, first row, last column + 1, last row + 1.
    """

    outline: NDArray[np.int32]
    corner: NDArray[np.int32]
    box: list[int]


class _Site:
    """Free ground: how far it is from pavement, and what is already taken."""

    def __init__(self, free: UInt8Image, window: Window) -> None:
        self.window = window
        padded = cv2.copyMakeBorder(free, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
        distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
        self.distance_m = distance * window.resolution_m
        self.taken = 1 - free

    def lots(self, spacing_m: float, seed: int) -> tuple[NDArrayFloat, NDArrayFloat]:
        """Jittered grid points with distance and outward direction; and hashes of their places.

        Returns:
            (L, 5) x, y, distance to pavement, direction away from it (x, y).
            (L, 6) uniform numbers.
        """
        low_x, low_y, high_x, high_y = self.window.bounds_m
        columns = np.arange(np.ceil(low_x / spacing_m), np.floor(high_x / spacing_m))
        rows = np.arange(np.ceil(low_y / spacing_m), np.floor(high_y / spacing_m))
        cell = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
        uniform = _hash_uniform(cell, 6, seed)
        xy = (cell + 0.25 + 0.5 * uniform[:, :2]) * spacing_m
        px = ((xy - (low_x, low_y)) / self.window.resolution_m).astype(int)
        last = np.array([self.window.columns, self.window.rows]) - 4
        px = np.clip(px, 3, last)
        x, y = px.T
        away = np.stack(
            [
                self.distance_m[y, x + 3] - self.distance_m[y, x - 3],
                self.distance_m[y + 3, x] - self.distance_m[y - 3, x],
            ],
            axis=1,
        )
        norm = np.linalg.norm(away, axis=1, keepdims=True)
        away = np.where(norm > 1e-6, away / np.maximum(norm, 1e-6), (1.0, 0.0))
        return np.column_stack([xy, self.distance_m[y, x], away]), uniform

    def claim(self, plot: _Plot) -> bool:
        """Takes a plot if it is free and inside the window."""
        x0, y0, x1, y1 = plot.box
        if x0 < 0 or y0 < 0 or x1 > self.window.columns or y1 > self.window.rows:
            return False
        taken = self.taken[y0:y1, x0:x1]
        # The middle of most plots in vain is taken: that is seen without drawing them.
        if taken[(y1 - y0) // 2, (x1 - x0) // 2]:
            return False
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        fill_convex(mask, [plot.outline - plot.corner], 1)
        if (taken & mask).any():
            return False
        taken |= mask
        return True

    def plots(self, outlines_m: NDArrayFloat) -> list[_Plot]:
        """Convex pieces of ground from (N, P, 2) outlines, metres."""
        points = self.window.to_pixels(outlines_m)
        low, high = points.min(axis=1) >> SHIFT, (points.max(axis=1) >> SHIFT) + 2
        boxes = np.concatenate([low, high], axis=1).tolist()
        return [_Plot(*row) for row in zip(points, low << SHIFT, boxes, strict=True)]


def _hash_uniform(cells: NDArrayFloat, count: int, seed: int) -> NDArrayFloat:
    """(L, count) numbers in [0, 1) that depend on integer cells and a seed (SplitMix64 finaliser)."""
    key = cells.astype(np.int64).astype(np.uint64)
    state = key[:, :1] * np.uint64(0x9E3779B97F4A7C15) ^ key[:, 1:] * np.uint64(0xC2B2AE3D27D4EB4F)
    offset = (np.arange(1, count + 1) + 1000003 * seed).astype(np.int64).astype(np.uint64)
    state = state + offset * np.uint64(0xD1B54A32D192ED03)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    state ^= state >> np.uint64(31)
    return np.asarray((state >> np.uint64(11)).astype(np.float64) / float(1 << 53))


def _buildings(site: _Site, style: CityStyle, seed: int) -> Iterator[Prop]:
    lots, uniform = site.lots(_BUILDING_LOT_M, seed)
    wanted = np.flatnonzero((lots[:, 2] >= 3.0) & (uniform[:, 2] <= style.building_density))
    wanted = wanted[np.argsort(uniform[wanted, 5], kind='stable')]
    xy, distance, away, u = lots[wanted, :2], lots[wanted, 2], lots[wanted, 3:], uniform[wanted]
    mean, spread = style.building_height
    size = np.column_stack([8.0 + 8.0 * u[:, 3], 9.0 + 18.0 * u[:, 4], np.zeros(len(u))])
    size[:, 2] = np.maximum(mean + spread * 1.8 * (2.0 * u[:, 0] - 1.0), 5.0)
    size[distance >= _FIRST_ROW_M, 2] *= 1.5
    setback = style.building_setback + size[:, 0] / 2 - distance
    center = xy + away * np.where(distance < _FIRST_ROW_M, setback, 0.0)[:, None]
    yaw = np.arctan2(away[:, 1], away[:, 0])
    plots = site.plots(footprints(center, yaw, size[:, :2] + 1.0))
    paint = (u[:, 1] * len(style.walls)).astype(int)
    for i, plot in enumerate(plots):
        if site.claim(plot):
            length, width, height = size[i].tolist()
            mesh = building_mesh((length, width, height), style.walls[paint[i]], style)
            yield Prop(mesh, center[i], float(yaw[i]), (length, width, height), solid=True)


def _trees(site: _Site, style: CityStyle, seed: int) -> Iterator[Prop]:
    lots, uniform = site.lots(_TREE_LOT_M, seed)
    near = (lots[:, 2] > 0.5) & (lots[:, 2] < 6.0)
    wanted = np.flatnonzero(near & (uniform[:, 2] <= style.tree_density))
    xy, distance, away, u = lots[wanted, :2], lots[wanted, 2:3], lots[wanted, 3:], uniform[wanted]
    center = xy + away * (1.4 - distance)
    plots = site.plots(footprints(center, np.zeros(len(center)), np.array([1.6, 1.6])))
    paint = (u[:, 4] * len(style.leaves)).astype(int)
    for i, plot in enumerate(plots):
        if site.claim(plot):
            height, radius = (style.tree_size * (0.75 + 0.5 * u[i, 3])).tolist()
            size = (2 * radius, 2 * radius, height)
            mesh = tree_mesh(size, style.leaves[paint[i]])
            yield Prop(mesh, center[i], float(u[i, 5] * np.pi), size, solid=False)
