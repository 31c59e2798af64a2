# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The ground around a drive as pictures seen from above, painted once per scene from the vector map.

A window is painted as classes (one channel), so that painting stays cheap at 0.08 m per pixel;
colours come from a table.
"""

from __future__ import annotations

import cv2
import numpy as np

from nexusflow.world.drawing import SHIFT, UInt8Image, Window, fill_convex
from nexusflow.world.ground_plan import GroundPlan, Surface
from nexusflow.world.scene import NDArrayFloat
from nexusflow.world.styles import CityStyle

_KERB_M = 0.25
_EDGE_LINE_M = 0.2
#: Width of the walkways beside roads where the map has none, metres.
_PAVEMENT_M = 2.5
_EDGE_LINE_INSET_M = 0.45
_TILE_PX = 256


def paint_surfaces(plan: GroundPlan, window: Window, joint_m: float = 0.0) -> UInt8Image:
    """Paints the plan.

    Args:
        plan: What to paint.
        window: Where, and how fine.
        joint_m: Size of the slabs whose joints are drawn on walkways; 0: no joints.

    Returns:
        (rows, columns) ``Surface`` of each pixel.
    """
    surface = np.zeros((window.rows, window.columns), np.uint8)
    for rings in plan.pavements:
        _fill(surface, rings, window, Surface.PAVEMENT)
    road = np.zeros_like(surface)
    for rings, _ in plan.roads:
        _fill(road, rings, window, 255)
    if not plan.pavements:
        surface[_grown(road, _PAVEMENT_M, window) > 0] = Surface.PAVEMENT
    if joint_m:
        _draw_joints(surface, window, joint_m)
    for rings, is_junction in plan.roads:
        _fill(surface, rings, window, Surface.JUNCTION if is_junction else Surface.ROAD)
    if plan.has_edge_lines:
        inner = ~_grown(~road, _EDGE_LINE_INSET_M, window)
        _draw_outline(surface, inner, _EDGE_LINE_M, window, Surface.EDGE_LINE)
    _draw_outline(surface, road, _KERB_M, window, Surface.KERB)
    for kind, outlines in plan.paint:
        fill_convex(surface, list(window.to_pixels(outlines)), kind)
    return surface


def colorize(
    surface: UInt8Image, window: Window, style: CityStyle, rng: np.random.Generator
) -> UInt8Image:
    """Gives classes their colours, grain and stains.

    Args:
        surface: (H, W) ``Surface`` of each pixel.
        window: Its window.
        style: The city's look.
        rng: Source of the grain.

    Returns:
        (H, W, 3) BGR picture.
    """
    table = np.zeros((1, 256, 3), np.uint8)
    table[0, : len(Surface)] = np.clip(np.round(_palette(style)), 0, 255).astype(np.uint8)
    picture = cv2.LUT(cv2.cvtColor(surface, cv2.COLOR_GRAY2BGR), table)
    amplitude = np.zeros(256, np.uint8)
    grain = {s: style.asphalt_grain for s in Surface}
    grain[Surface.VEGETATION] = style.vegetation_grain
    amplitude[: len(Surface)] = [int(round(4 * grain[s])) for s in Surface]
    noise = np.abs(rng.normal(0.0, 42.0, (_TILE_PX, _TILE_PX)))
    noise = np.clip(noise, 0, 127).astype(np.uint8)
    repeats = (window.rows // _TILE_PX + 1, window.columns // _TILE_PX + 1)
    tiled = cv2.repeat(noise, *repeats)[: window.rows, : window.columns]
    grain_px = cv2.multiply(tiled, cv2.LUT(surface, amplitude), scale=1 / 168.0)
    stains = rng.normal(0.0, 1.0, (max(window.rows // 64, 2), max(window.columns // 64, 2)))
    stains = np.clip(8.0 + 6.0 * stains, 0, 40).astype(np.uint8)
    size = (window.columns, window.rows)
    darker = cv2.add(grain_px, cv2.resize(stains, size, interpolation=cv2.INTER_LINEAR))
    return np.asarray(cv2.subtract(picture, cv2.cvtColor(darker, cv2.COLOR_GRAY2BGR)), np.uint8)


def _palette(style: CityStyle) -> NDArrayFloat:
    worn = 1.0 - style.paint_wear

    def paint(color: NDArrayFloat, opacity: float = 1.0) -> NDArrayFloat:
        return style.asphalt + worn * opacity * (color - style.asphalt)

    colors = {
        Surface.VEGETATION: style.vegetation,
        Surface.PAVEMENT: style.pavement,
        Surface.JOINT: style.pavement_joint,
        Surface.ROAD: style.asphalt,
        Surface.JUNCTION: style.junction,
        Surface.KERB: style.kerb,
        Surface.EDGE_LINE: paint(style.edge_paint, style.edge_opacity),
        Surface.LANE_LINE: paint(style.lane_paint),
        Surface.ROAD_LINE: paint(style.road_paint),
        Surface.STRIPE: paint(style.crossing_paint, style.stripe_opacity),
        Surface.BORDER: paint(style.crossing_paint, style.border_opacity),
    }
    # Grain and stains only darken: start a little brighter.
    return np.array([colors[s] for s in Surface]) + 10.0


def _fill(image: UInt8Image, rings: list[NDArrayFloat], window: Window, value: int) -> None:
    cv2.fillPoly(image, [window.to_pixels(r) for r in rings], (value,), cv2.LINE_8, SHIFT)


def _grown(mask: UInt8Image, by_m: float, window: Window) -> UInt8Image:
    reach = max(int(round(by_m / window.resolution_m)), 1)
    return np.asarray(cv2.dilate(mask, np.ones((2 * reach + 1,) * 2, np.uint8)), np.uint8)


def _draw_outline(
    surface: UInt8Image, mask: UInt8Image, width_m: float, window: Window, kind: Surface
) -> None:
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    # OpenCV draws thickness 1, 2, 3 as 1, 3, 5 pixels.
    thickness = max(int(round((width_m / window.resolution_m + 1) / 2)), 1)
    cv2.drawContours(surface, contours, -1, (int(kind),), thickness)


def _draw_joints(surface: UInt8Image, window: Window, joint_m: float) -> None:
    step = max(int(round(joint_m / window.resolution_m)), 2)
    for line in (surface[::step], surface[:, ::step]):
        line[line == Surface.PAVEMENT] = Surface.JOINT
