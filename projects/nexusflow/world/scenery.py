# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Buildings and trees: placed by a hash of the place, beside roads and walkways, never on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from nexusflow.world.ground import SHIFT, Surface, UInt8Image, Window
from nexusflow.world.mesh import Mesh, MeshBuilder
from nexusflow.world.scene import NDArrayFloat
from nexusflow.world.styles import CityStyle

#: Space between lots, metres.
_BUILDING_LOT_M = 7.0
_TREE_LOT_M = 5.0
#: Buildings deeper in a block than this stand free, metres from the nearest pavement.
_FIRST_ROW_M = 28.0
_STOREY_M = 3.4
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
    props = [p for p in _buildings(site, style, seed)]
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
            (L, 5) x, y, distance to pavement, direction away from it (x, y); and (L, 6) uniform numbers.
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
        points = self.window.fixed_point(outline_m)
        (x0, y0), (x1, y1) = points.min(axis=0) >> SHIFT, (points.max(axis=0) >> SHIFT) + 2
        if x0 < 0 or y0 < 0 or x1 > self.window.columns or y1 > self.window.rows:
            return False
        plot = np.zeros((y1 - y0, x1 - x0), np.uint8)
        corner = np.array([x0, y0], np.int32) << SHIFT
        cv2.fillConvexPoly(plot, points - corner, 1, cv2.LINE_8, SHIFT)
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
        yield Prop(_building_mesh(size, wall, style), center, yaw, size, solid=True)


def _trees(site: _Site, style: CityStyle, seed: int) -> Iterator[Prop]:
    lots, uniform = site.lots(_TREE_LOT_M, seed)
    for (x, y, distance, *away), u in zip(lots, uniform):
        if not 0.5 < distance < 6.0 or u[2] > style.tree_density:
            continue
        center = np.array([x, y]) + np.array(away) * (1.4 - distance)
        height, radius = style.tree_size * (0.75 + 0.5 * u[3])
        if not site.claim(footprint(center, 0.0, 1.6, 1.6)):
            continue
        leaf = style.leaves[int(u[4] * len(style.leaves))]
        size = (float(2 * radius), float(2 * radius), float(height))
        yield Prop(_tree_mesh(size, leaf), center, float(u[5] * np.pi), size, solid=False)


def _building_mesh(size: tuple[float, float, float], wall: NDArrayFloat, style: CityStyle) -> Mesh:
    length, width, height = size
    half_x, half_y = length / 2, width / 2
    builder = MeshBuilder()
    builder.box((-half_x, half_x), (-half_y, half_y), (0.0, height), wall)
    share = style.wall_window_share
    storeys = max(int(height / _STOREY_M), 1)
    for storey in range(storeys):
        low = storey * _STOREY_M + (0.3 if storey == 0 else _STOREY_M * (1 - share) / 2)
        top = min(low + _STOREY_M * (0.75 if storey == 0 else share), height - 0.3)
        shade = style.glass * (0.6 if storey == 0 else 1.0)
        near = 30.0 if storey else 20.0
        for facing in (-1, 1):
            y, x = (-half_y * 0.94, half_y * 0.94), (-half_x * 0.92, half_x * 0.92)
            builder.decal_x(facing * half_x, y, (low, top), shade, facing, 1.0, min_px=near)
            builder.decal_y(x, facing * half_y, (low, top), shade, facing, 1.0, min_px=near)
    rise = (_STOREY_M * 0.95, height - 0.4)
    if rise[1] > rise[0] + 1.0:
        _piers(builder, half_x, half_y, rise, wall)
    return builder.build()


def _piers(
    builder: MeshBuilder, half_x: float, half_y: float, z: tuple[float, float], wall: NDArrayFloat
) -> None:
    """Strips of wall between the windows."""
    for facing in (-1, 1):
        for y in np.arange(-half_y + 3.0, half_y - 1.0, 3.0):
            pier = (float(y) - 0.5, float(y) + 0.5)
            builder.decal_x(facing * half_x, pier, z, wall, facing, 2.0, min_px=60.0)
        for x in np.arange(-half_x + 3.0, half_x - 1.0, 3.0):
            pier = (float(x) - 0.5, float(x) + 0.5)
            builder.decal_y(pier, facing * half_y, z, wall, facing, 2.0, min_px=60.0)


def _tree_mesh(size: tuple[float, float, float], leaf: NDArrayFloat) -> Mesh:
    length, _, height = size
    radius = length / 2
    builder = MeshBuilder()
    trunk = (-0.16, 0.16)
    builder.box(trunk, trunk, (0.0, 0.45 * height), _TRUNK)
    # Crown: two rings of eight faces, wide in the middle.
    profile = ((0.3, 0.45), (0.5, 1.0), (0.78, 0.86), (1.0, 0.25))
    angles = np.arange(9) * (2 * np.pi / 8)
    rim = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius
    for rank, ((z0, r0), (z1, r1)) in enumerate(zip(profile, profile[1:])):
        for a, b in zip(rim, rim[1:]):
            corners = [
                (*(a * r0), z0 * height),
                (*(b * r0), z0 * height),
                (*(b * r1), z1 * height),
                (*(a * r1), z1 * height),
            ]
            builder.quad(corners, leaf * (0.85 + 0.12 * rank), 1.0)
    return builder.build()
