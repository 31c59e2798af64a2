# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Light in a room: from everywhere, from lamps and windows; one of them casts shadows."""

from __future__ import annotations

import cv2
import numpy as np

from nexusflow.world.indoor.cast import entries
from nexusflow.world.indoor.solids import Floats, Light, Scene
from nexusflow.world.indoor.surface import Surface

#: Shadows are cast for about so many columns, then smoothed to the image's size: soft and cheap.
_SHADOW_COLUMNS = 96
_LIFT_M = 0.02


def shade(scene: Scene, surface: Surface) -> Floats:
    """(H, W, 3) light that each surface point sends to the camera; 1 is white in full light."""
    level = 0.7 + 0.3 * surface.normals[..., 2:]
    light = np.asarray(scene.ambient) * level * _openness(scene, surface)[..., None]
    for number, lamp in enumerate(scene.lights):
        amount = _direct(lamp, surface)
        if number == 0:
            amount = amount * _visible(scene, lamp, surface)
        light = light + amount[..., None] * np.asarray(lamp.color)
    return np.asarray(surface.colors * np.maximum(light, surface.glow[..., None]))


def _direct(lamp: Light, surface: Surface) -> Floats:
    """(H, W) Lambert's cosine, fading with the distance."""
    toward = np.asarray(lamp.position) - surface.points
    distance = np.linalg.norm(toward, axis=-1)
    cosine = (toward * surface.normals).sum(axis=-1) / np.maximum(distance, 1e-3)
    return np.asarray(np.maximum(cosine, 0.0) / (0.5 + 0.35 * distance**2))


def _visible(scene: Scene, lamp: Light, surface: Surface) -> Floats:
    """(H, W) share of a lamp that is seen, in [0, 1]."""
    height, width = surface.glow.shape
    step = max(1, round(width / _SHADOW_COLUMNS))
    points = (surface.points + _LIFT_M * surface.normals)[::step, ::step].transpose(2, 0, 1)
    toward = np.asarray(lamp.position)[:, None, None] - points
    shape = toward.shape[1:]
    origin = np.ascontiguousarray(points).reshape(3, -1)
    rays = np.ascontiguousarray(toward).reshape(3, -1).astype(np.float32)
    blocked = np.zeros(origin.shape[1], bool)
    for solid in scene.solids:
        if not solid.material.glow:
            blocked |= entries(solid, origin, rays) < 1.0
    seen = cv2.blur(1.0 - blocked.reshape(shape).astype(np.float32), (3, 3))
    return np.asarray(cv2.resize(seen, (width, height), interpolation=cv2.INTER_LINEAR))


def _openness(scene: Scene, surface: Surface) -> Floats:
    """(H, W) less than 1 near floor, ceiling and walls, where light comes from fewer sides."""
    factor = np.ones(surface.glow.shape)
    for axis, length in enumerate(scene.size):
        for distance in (surface.points[..., axis], length - surface.points[..., axis]):
            flat = np.abs(surface.normals[..., axis]) < 0.9
            factor *= 1.0 - 0.3 * flat * np.exp(-np.maximum(distance, 0.0) / 0.2)
    return factor
