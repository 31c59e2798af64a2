# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Surfaces of what rays have hit: normals and colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nexusflow.world.indoor.camera import Camera
from nexusflow.world.indoor.cast import Hits
from nexusflow.world.indoor.solids import Floats, Solid
from nexusflow.world.indoor.textures import PATTERNS, Place


class Surface(NamedTuple):
    """What is seen at each pixel.

    Attributes:
        points: (H, W, 3) room frame, metres.
        normals: (H, W, 3) unit vectors out of the surface, room frame.
        colors: (H, W, 3) RGB in [0, 1], without light.
        glow: (H, W) light of its own.
    """

    points: Floats
    normals: Floats
    colors: Floats
    glow: Floats


def surfaces(camera: Camera, solids: Sequence[Solid], hits: Hits) -> Surface:
    """Looks up the surface at each pixel.

    Raises:
        ValueError: If a ray has hit nothing: the room is open.
    """
    if (hits.number < 0).any():
        raise ValueError('solids: the room must be closed, but some rays hit nothing')
    shape = hits.number.shape
    points = camera.rays().reshape(3, -1) * hits.depth.reshape(-1).astype(np.float64)
    points += np.asarray(camera.position)[:, None]
    normals, colors = np.empty_like(points), np.empty_like(points)
    glow = np.empty(points.shape[1])
    flat = hits.number.reshape(-1)
    order = np.argsort(flat, kind='stable')
    numbers, starts = np.unique(flat[order], return_index=True)
    for number, pixels in zip(numbers, np.split(order, starts[1:]), strict=True):
        solid = solids[int(number)]
        matrix = solid.unit_matrix()
        place = matrix @ (points[:, pixels] - np.asarray(solid.center)[:, None])
        outward = _unit_normals(solid.shape, place)
        turned = matrix.T @ outward
        normals[:, pixels] = turned / np.linalg.norm(turned, axis=0)
        material = solid.material
        colors[:, pixels] = PATTERNS[material.pattern](material, _place(solid, place, outward)).T
        glow[pixels] = material.glow
    points, normals, colors = (a.T.reshape(*shape, 3) for a in (points, normals, colors))
    return Surface(points, normals, colors, glow.reshape(shape))


def _unit_normals(shape: str, place: Floats) -> Floats:
    """(3, N) outward directions at points on a unit shape."""
    if shape == 'ball':
        return place
    outward = np.zeros_like(place)
    if shape == 'box':
        axis = np.abs(place).argmax(axis=0)[None]
        np.put_along_axis(outward, axis, np.sign(np.take_along_axis(place, axis, 0)), 0)
        return outward
    cap = np.abs(place[2]) > np.hypot(place[0], place[1])
    outward[2] = np.where(cap, np.sign(place[2]), 0.0)
    outward[:2] = np.where(cap, 0.0, place[:2])
    return outward


def _place(solid: Solid, place: Floats, outward: Floats) -> Place:
    """Coordinates on the faces: upright faces have v up; round ones are unrolled."""
    hx, hy, hz = solid.half
    x, y, z = place
    if solid.shape != 'box':
        angle = np.arctan2(y, x)
        return Place(angle * hx, z * hz, angle / np.pi, z)
    level, side = np.abs(outward[2]) > 0.5, np.abs(outward[0]) > 0.5
    across = np.where(side, y, x)
    u = np.where(side, y * hy, x * hx)
    return Place(u, np.where(level, y * hy, z * hz), across, np.where(level, y, z))
