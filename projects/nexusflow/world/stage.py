# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What stays the same during a scene: the ground in several levels of detail, buildings and trees."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from nexusflow.world.drawing import SHIFT, UInt8Image, Window, fill_convex
from nexusflow.world.ground import colorize, paint_surfaces
from nexusflow.world.ground_plan import plan_ground
from nexusflow.world.ground_view import GroundLevel
from nexusflow.world.objects import seeded_rng
from nexusflow.world.props import Prop, footprint
from nexusflow.world.scene import CityMap, NDArrayFloat, SceneLog
from nexusflow.world.scenery import place_scenery
from nexusflow.world.shadows import shadow_quads
from nexusflow.world.styles import CityStyle

#: Finest ground, metres per pixel, and how far around the ego's path it reaches.
_NEAR_RESOLUTION_M = 0.08
_NEAR_MARGIN_M = 32.0
_FAR_RESOLUTION_M = 0.16
_FAR_MARGIN_M = 110.0
#: Longer drives get coarser ground instead of more memory, pixels.
_MAX_PIXELS = 16_000_000


@dataclass(frozen=True)
class Stage:
    """The unmoving part of a scene.

    Attributes:
        levels: Ground, fine to coarse.
        props: Buildings and trees.
    """

    levels: tuple[GroundLevel, ...]
    props: tuple[Prop, ...]


def build_stage(
    city_map: CityMap, scene: SceneLog, style: CityStyle, seed: int, sun: NDArrayFloat
) -> Stage:
    """Builds the stage around a drive.

    Args:
        city_map: The map.
        scene: The drive.
        style: The city's look.
        seed: Of everything random.
        sun: (3,) unit vector towards the sun, global frame.

    Returns:
        The stage.
    """
    near = _window(scene.ego_xy_m, _NEAR_MARGIN_M, _NEAR_RESOLUTION_M)
    far = _window(scene.ego_xy_m, _FAR_MARGIN_M, _FAR_RESOLUTION_M)
    plan = plan_ground(city_map, style, far.bounds_m)
    far_surface = paint_surfaces(plan, far)
    coarse = far.halved().halved()
    site = np.ascontiguousarray(far_surface[2::4, 2::4])
    keep_clear = _keep_clear(scene, coarse)
    location_seed = int(seeded_rng(seed, scene.location).integers(1 << 31))
    props = place_scenery(site, coarse, keep_clear, style, location_seed)
    near_picture, far_picture = (
        colorize(surface, window, style, seeded_rng(seed, scene.name, 'ground'))
        for window, surface in ((near, paint_surfaces(plan, near, style.slab)), (far, far_surface))
    )
    # The finest level is seen magnified: this takes the steps off slanted edges.
    near_picture = np.asarray(cv2.GaussianBlur(near_picture, (3, 3), 0.7), np.uint8)
    for picture, window in ((near_picture, near), (far_picture, far)):
        _shade(picture, window, props, sun, style.sun_strength)
    levels = (
        *_pyramid(near_picture, near, 2, _NEAR_MARGIN_M),
        *_pyramid(far_picture, far, 3, np.inf)[1:],
    )
    return Stage(levels, tuple(props))


def _pyramid(picture: UInt8Image, window: Window, levels: int, reach_m: float) -> list[GroundLevel]:
    """A picture with an opaque fourth channel, and its halvings."""
    opaque = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA), np.uint8)
    pyramid = [GroundLevel(opaque, window, reach_m)]
    while len(pyramid) < levels:
        half = np.asarray(cv2.pyrDown(pyramid[-1].picture), np.uint8)
        pyramid.append(GroundLevel(half, pyramid[-1].window.halved(), reach_m))
    return pyramid


def _window(path_m: NDArrayFloat, margin_m: float, resolution_m: float) -> Window:
    window = Window.around(path_m, margin_m, resolution_m)
    excess = window.columns * window.rows / _MAX_PIXELS
    if excess > 1.0:
        window = Window.around(path_m, margin_m, resolution_m * float(np.sqrt(excess)))
    return window


def _keep_clear(scene: SceneLog, window: Window) -> UInt8Image:
    """Where the ego or a track ever is, with some room."""
    mask = np.zeros((window.rows, window.columns), np.uint8)
    path = window.to_pixels(scene.ego_xy_m)
    thickness = max(int(round(8.0 / window.resolution_m)), 1)
    cv2.polylines(mask, [path], False, (255,), thickness, cv2.LINE_8, SHIFT)
    for track in scene.tracks:
        width, length, _ = track.size_wlh_m
        for center, yaw in zip(track.center_m[:, :2], track.yaw_rad, strict=True):
            outline = footprint(center, float(yaw), length + 3.0, width + 3.0)
            fill_convex(mask, [window.to_pixels(outline)], 255)
    return mask


def _shade(
    picture: UInt8Image, window: Window, props: list[Prop], sun: NDArrayFloat, strength: float
) -> None:
    """Darkens the ground in the shadows of the props."""
    if not props:
        return
    bottom = np.array([(*p.xy_m, 0.0) for p in props])
    yaw = np.array([p.yaw_rad for p in props])
    size = np.array([p.size_lwh_m for p in props])
    mask = np.zeros(picture.shape[:2], np.uint8)
    quads = shadow_quads(bottom, yaw, size, sun)[..., :2]
    fill_convex(mask, list(window.to_pixels(quads)), 255)
    gain = 1.0 - 0.6 * strength
    dark = cv2.convertScaleAbs(picture, alpha=gain)
    cv2.copyTo(dark, mask, picture)
