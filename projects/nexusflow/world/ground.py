# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The ground around a drive as pictures seen from above, painted once per scene from the vector map.

A window is painted as classes (one channel), so that painting stays cheap at 0.08 m per pixel;
colours come from a table.
"""

from __future__ import annotations

from typing import Final

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
#: Mean of the stains, grey levels.
_STAINS = 8.0
#: Added to the class of what lies in shadow.
SHADED: Final = 16


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
    surface: UInt8Image,
    style: CityStyle,
    rng: np.random.Generator,
    halved: bool,
) -> UInt8Image:
    """Gives classes their colours, grain and stains.

    Args:
        surface: (H, W) ``Surface`` of each pixel, with ``SHADED`` added in shadows; even sides.
        style: The city's look.
        rng: Source of the grain.
        halved: Whether the picture has half as many rows and columns; else edges are softened only, since the
            picture is going to be magnified.

    Returns:
        (H, W, 4) or (H / 2, W / 2, 4) BGR picture; the fourth channel is 255.
    """
    colors, grain = _palette(style)
    planes = [cv2.LUT(surface, table) for table in colors.T]
    opaque = cv2.merge([*planes, np.full_like(surface, 255)])
    picture = _smoothed(np.asarray(opaque, np.uint8), halved)
    noise = np.abs(rng.standard_normal((_TILE_PX, _TILE_PX), dtype=np.float32)) * 42.0
    noise = np.pad(np.minimum(noise, 127.0).astype(np.uint8), 8, mode='wrap')
    frame = slice(4, -4) if halved else slice(8, -8)
    tile = _smoothed(noise, halved)[frame, frame]
    rows, columns = picture.shape[:2]
    tiled = cv2.repeat(tile, rows // len(tile) + 1, columns // len(tile) + 1)[:rows, :columns]
    step = 2 if halved else 1
    amplitude = cv2.LUT(np.ascontiguousarray(surface[::step, ::step]), grain)
    stains = rng.normal(0.0, 1.0, [max(n // 64, 2) for n in surface.shape])
    stains = np.clip(_STAINS + 6.0 * stains, 0, 40).astype(np.uint8)
    darker = cv2.resize(stains, (columns, rows), interpolation=cv2.INTER_LINEAR)
    darker = cv2.add(darker, cv2.multiply(tiled, amplitude, scale=1 / 168.0))
    gray = cv2.merge([darker, darker, darker, np.zeros_like(darker)])
    return np.asarray(cv2.subtract(picture, gray, dst=picture), np.uint8)


def _smoothed(picture: UInt8Image, halved: bool) -> UInt8Image:
    """A picture without steps on slanted edges."""
    if halved:
        return np.asarray(cv2.pyrDown(picture), np.uint8)
    return np.asarray(cv2.GaussianBlur(picture, (3, 3), 0.7), np.uint8)


def _palette(style: CityStyle) -> tuple[UInt8Image, UInt8Image]:
    """Tables by class: (256, 3) colours and (256,) amplitudes of the grain."""
    worn = 1.0 - style.paint_wear

    def paint(color: NDArrayFloat, opacity: float = 1.0) -> NDArrayFloat:
        return style.asphalt + worn * opacity * (color - style.asphalt)

    known = {
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
    colors, grain = np.zeros((256, 3)), np.zeros(256)
    dark = 1.0 - 0.6 * style.sun_strength
    for surface, color in known.items():
        rough = surface is Surface.VEGETATION
        light = 4.0 * (style.vegetation_grain if rough else style.asphalt_grain)
        # Grain and stains only darken: start a little brighter. Stains are the same in shadow and light.
        colors[surface] = color + 10.0
        colors[surface | SHADED] = dark * (color + 10.0 - _STAINS) + _STAINS
        grain[surface], grain[surface | SHADED] = light, dark * light
    tables = (np.clip(np.round(table), 0, 255).astype(np.uint8) for table in (colors, grain))
    return next(tables), next(tables)


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
