# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Buildings and trees: placed by a hash of the place, beside roads and walkways, never on them."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from nexusflow.world.drawing import SHIFT, UInt8Image, Window, fill_convex
from nexusflow.world.ground_plan import Surface
from nexusflow.world.props import Prop, building_mesh, footprint, tree_mesh
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

    def claim(self, outline_m: NDArrayFloat) -> bool:
        """Takes a convex piece of ground if it is free and inside the window."""
        points = self.window.to_pixels(outline_m)
        (x0, y0), (x1, y1) = points.min(axis=0) >> SHIFT, (points.max(axis=0) >> SHIFT) + 2
        if x0 < 0 or y0 < 0 or x1 > self.window.columns or y1 > self.window.rows:
            return False
        plot = np.zeros((y1 - y0, x1 - x0), np.uint8)
        corner = np.array([x0, y0], np.int32) << SHIFT
        fill_convex(plot, [points - corner], 1)
        taken = self.taken[y0:y1, x0:x1]
        if (taken & plot).any():
            return False
        taken |= plot
        return True


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
    mean, spread = style.building_height
    for index in np.argsort(uniform[:, 5], kind='stable'):
        x, y, distance, *away = lots[index]
        u = uniform[index]
        if distance < 3.0 or u[2] > style.building_density:
            continue
        direction = np.array(away)
        depth, width = 8.0 + 8.0 * u[3], 9.0 + 18.0 * u[4]
        height = float(max(mean + spread * 1.8 * (2.0 * u[0] - 1.0), 5.0))
        center = np.array([x, y])
        if distance < _FIRST_ROW_M:
            center = center + direction * (style.building_setback + depth / 2 - distance)
        else:
            height *= 1.5
        yaw = float(np.arctan2(direction[1], direction[0]))
        if not site.claim(footprint(center, yaw, depth + 1.0, width + 1.0)):
            continue
        wall = style.walls[int(u[1] * len(style.walls))]
        size = (float(depth), float(width), height)
        yield Prop(building_mesh(size, wall, style), center, yaw, size, solid=True)


def _trees(site: _Site, style: CityStyle, seed: int) -> Iterator[Prop]:
    lots, uniform = site.lots(_TREE_LOT_M, seed)
    for (x, y, distance, *away), u in zip(lots, uniform, strict=True):
        if not 0.5 < distance < 6.0 or u[2] > style.tree_density:
            continue
        center = np.array([x, y]) + np.array(away) * (1.4 - distance)
        height, radius = style.tree_size * (0.75 + 0.5 * u[3])
        if not site.claim(footprint(center, 0.0, 1.6, 1.6)):
            continue
        leaf = style.leaves[int(u[4] * len(style.leaves))]
        size = (float(2 * radius), float(2 * radius), float(height))
        yield Prop(tree_mesh(size, leaf), center, float(u[5] * np.pi), size, solid=False)
