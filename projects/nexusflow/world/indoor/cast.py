# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Casts rays against solids: exact depth, and which solid is hit.

A solid's own coordinates make it a unit shape (cube, ball or cylinder of half side or radius 1), and
every unit shape is convex: a ray is inside from an entry to an exit (the slab method of Kay and
Kajiya, 1986, for boxes; the quadratic equation for the others).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nexusflow.world.indoor.camera import Camera
from nexusflow.world.indoor.solids import Floats, Solid

#: Nothing nearer is seen, metres.
NEAR_M = 0.05


class Hits(NamedTuple):
    """What the rays of an image hit.

    Attributes:
        depth: (H, W) float32 metres along the optical axis; infinite where nothing is hit.
        number: (H, W) number of the solid; -1: none.
    """

    depth: Floats
    number: NDArray[np.int16]


def cast_image(camera: Camera, solids: Sequence[Solid]) -> Hits:
    """Casts a ray through each pixel."""
    width, height = camera.image_size_wh
    rays, origin = camera.rays(), np.asarray(camera.position)
    depth = np.full((height, width), np.inf, np.float32)
    number = np.full((height, width), -1, np.int16)
    for k, solid in enumerate(solids):
        window = _window(camera, solid)
        if window is None:
            continue
        entry = entries(solid, origin, rays[(slice(None), *window)])
        nearer = entry < depth[window]
        depth[window][nearer] = entry[nearer]
        number[window][nearer] = k
    return Hits(depth, number)


def entries(solid: Solid, origin: Floats, rays: Floats) -> Floats:
    """Where rays enter a solid.

    Args:
        solid: The solid.
        origin: (3,) or (3, ...) start of the rays, room frame, metres.
        rays: (3, ...) directions.

    Returns:
        (...) float32 multiples of the rays' directions; infinite without a hit in front.
    """
    matrix = solid.unit_matrix()
    shape = rays.shape[1:]
    spread = origin.reshape(3, -1) - np.asarray(solid.center)[:, None]
    start = (matrix @ spread).astype(np.float32)
    direction = matrix.astype(np.float32) @ rays.reshape(3, -1)
    with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
        if solid.shape == 'box':
            enter, leave = _slab(start, direction)
        elif solid.shape == 'ball':
            enter, leave = _round(start, direction)
        else:
            enter, leave = _round(start[:2], direction[:2])
            cap_enter, cap_leave = _slab(start[2:], direction[2:])
            enter, leave = np.maximum(enter, cap_enter), np.minimum(leave, cap_leave)
        hit = (enter < leave) & (enter > NEAR_M)
    return np.where(hit, enter, np.float32(np.inf)).reshape(shape)


def _slab(start: Floats, direction: Floats) -> tuple[Floats, Floats]:
    """Entry into and exit from the cube [-1, 1]^k."""
    inverse = 1.0 / direction
    first, second = (-1.0 - start) * inverse, (1.0 - start) * inverse
    return np.minimum(first, second).max(axis=0), np.maximum(first, second).min(axis=0)


def _round(start: Floats, direction: Floats) -> tuple[Floats, Floats]:
    """Entry into and exit from the unit circle or ball, from the point nearest to its middle."""
    # A ray along the axis of a cylinder stays inside, or outside, as far as numbers go.
    squared = np.maximum((direction * direction).sum(axis=0), np.float32(1e-20))
    middle = -(start * direction).sum(axis=0) / squared
    nearest = start + middle * direction
    half = np.sqrt((1.0 - (nearest * nearest).sum(axis=0)) / squared)
    return middle - half, middle + half


def _window(camera: Camera, solid: Solid) -> tuple[slice, slice] | None:
    """Rows and columns that a solid may cover; None if it is behind the camera or outside."""
    width, height = camera.image_size_wh
    pixels, depth = camera.project(solid.corners())
    if depth.max() < NEAR_M:
        return None
    if depth.min() < NEAR_M:
        return slice(0, height), slice(0, width)
    low = np.clip(np.floor(pixels.min(axis=0)), 0, (width, height)).astype(int)
    high = np.clip(np.ceil(pixels.max(axis=0)) + 1, 0, (width, height)).astype(int)
    if (low >= high).any():
        return None
    return slice(low[1], high[1]), slice(low[0], high[0])
