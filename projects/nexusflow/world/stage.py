# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What stays the same during a scene: the ground in several levels of detail, buildings and trees."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from nexusflow.world.drawing import SHIFT, UInt8Image, Window, fill_convex, footprints
from nexusflow.world.ground import SHADED, colorize, paint_surfaces
from nexusflow.world.ground_plan import plan_ground
from nexusflow.world.ground_view import GroundLevel
from nexusflow.world.objects import seeded_rng
from nexusflow.world.props import Prop
from nexusflow.world.scene import CityMap, NDArrayFloat, SceneLog
from nexusflow.world.scenery import place_scenery
from nexusflow.world.shadows import shadow_quads
from nexusflow.world.styles import CityStyle

#: Finest ground, metres per pixel, and how far around the ego's path it reaches.
_NEAR_RESOLUTION_M = 0.08
_NEAR_MARGIN_M = 32.0
#: Of the classes; the picture is half as fine.
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
    levels = []
    for window, surface, reach, halved in (
        (near, paint_surfaces(plan, near, style.slab), _NEAR_MARGIN_M, False),
        (far, far_surface, np.inf, True),
    ):
        _shade(surface, window, props, sun)
        grain = seeded_rng(seed, scene.name, 'ground')
        picture = colorize(surface, style, grain, halved)
        fine = window.halved() if halved else window
        half = np.asarray(cv2.pyrDown(picture), np.uint8)
        levels += [GroundLevel(picture, fine, reach), GroundLevel(half, fine.halved(), reach)]
    return Stage(tuple(levels), tuple(props))


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
    center = np.concatenate([np.empty((0, 2)), *(t.center_m[:, :2] for t in scene.tracks)])
    yaw = np.concatenate([np.empty(0), *(t.yaw_rad for t in scene.tracks)])
    size = np.repeat(
        np.array([t.size_wlh_m[1::-1] for t in scene.tracks]).reshape(-1, 2) + 3.0,
        [len(t.yaw_rad) for t in scene.tracks],
        axis=0,
    )
    # What stands still is painted once.
    poses = np.unique(np.column_stack([center, yaw, size]), axis=0)
    outlines = footprints(poses[:, :2], poses[:, 2], poses[:, 3:])
    fill_convex(mask, list(window.to_pixels(outlines)), 255)
    return mask


def _shade(surface: UInt8Image, window: Window, props: list[Prop], sun: NDArrayFloat) -> None:
    """Marks the ground in the shadows of the props."""
    if not props:
        return
    bottom = np.array([(*p.xy_m, 0.0) for p in props])
    yaw = np.array([p.yaw_rad for p in props])
    size = np.array([p.size_lwh_m for p in props])
    shadow = np.zeros_like(surface)
    quads = shadow_quads(bottom, yaw, size, sun)[..., :2]
    fill_convex(shadow, list(window.to_pixels(quads)), SHADED)
    cv2.bitwise_or(surface, shadow, dst=surface)
