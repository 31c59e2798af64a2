# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The ground around a drive as pictures seen from above, painted once per scene from the vector map.

A window is painted as classes (one channel), so that painting stays cheap at 0.08 m per pixel; colours come from a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import LineString, Polygon

from nexusflow.world.markings import crossing_paint, divider_quads
from nexusflow.world.scene import CityMap, NDArrayFloat
from nexusflow.world.styles import CityStyle

UInt8Image = NDArray[np.uint8]
#: Fractional bits of the coordinates given to OpenCV's polygon filling.
SHIFT = 4
_KERB_M = 0.25
_EDGE_LINE_INSET_M = 0.45
_TILE_PX = 256


class Surface(IntEnum):
    """What the ground is made of."""

    VEGETATION = 0
    PAVEMENT = 1
    JOINT = 2
    ROAD = 3
    JUNCTION = 4
    KERB = 5
    EDGE_LINE = 6
    LANE_LINE = 7
    ROAD_LINE = 8
    STRIPE = 9
    BORDER = 10


@dataclass(frozen=True)
class Window:
    """An axis-aligned part of the ground and the raster that shows it: row 0 is the lowest y.

    Attributes:
        x_m: Left edge, global frame.
        y_m: Lower edge, global frame.
        columns: Pixels along x.
        rows: Pixels along y.
        resolution_m: Size of a pixel.
    """

    x_m: float
    y_m: float
    columns: int
    rows: int
    resolution_m: float

    @classmethod
    def around(cls, xy_m: NDArrayFloat, margin_m: float, resolution_m: float) -> Window:
        """The window that holds points with a margin.

        Args:
            xy_m: (N, 2) points, global frame, metres.
            margin_m: Space around them, metres.
            resolution_m: Size of a pixel, metres.

        Returns:
            The window; its sides are multiples of 8 pixels.
        """
        low = np.floor((xy_m.min(axis=0) - margin_m) / resolution_m / 8) * 8
        size = np.ceil((xy_m.max(axis=0) + margin_m) / resolution_m / 8) * 8 - low
        return cls(
            low[0] * resolution_m, low[1] * resolution_m, int(size[0]), int(size[1]), resolution_m
        )

    @property
    def bounds_m(self) -> tuple[float, float, float, float]:
        """Lowest x, lowest y, highest x, highest y; metres."""
        return (
            self.x_m,
            self.y_m,
            self.x_m + self.columns * self.resolution_m,
            self.y_m + self.rows * self.resolution_m,
        )

    def fixed_point(self, xy_m: NDArrayFloat) -> NDArray[np.int32]:
        """(N, 2) pixel-centre coordinates with ``SHIFT`` fractional bits, for OpenCV's drawing."""
        pixels = (np.asarray(xy_m) - (self.x_m, self.y_m)) / self.resolution_m - 0.5
        return np.round(pixels * (1 << SHIFT)).astype(np.int32)

    def halved(self) -> Window:
        """The same ground at half the resolution."""
        return Window(self.x_m, self.y_m, self.columns // 2, self.rows // 2, self.resolution_m * 2)


@dataclass(frozen=True)
class GroundPlan:
    """Everything painted on the ground near one drive, as outlines in metres (global frame).

    Attributes:
        pavements: Rings of each walkway.
        roads: Rings of each road segment and whether it is a junction.
        paint: Convex outlines with what they are painted as, in painting order.
        has_edge_lines: Whether a line runs along the road's edge.
    """

    pavements: tuple[list[NDArrayFloat], ...]
    roads: tuple[tuple[list[NDArrayFloat], bool], ...]
    paint: tuple[tuple[Surface, NDArrayFloat], ...]
    has_edge_lines: bool


def plan_ground(
    city_map: CityMap, style: CityStyle, bounds_m: tuple[float, float, float, float]
) -> GroundPlan:
    """Collects what must be painted within bounds.

    Args:
        city_map: The map.
        style: The city's look.
        bounds_m: Lowest x, lowest y, highest x, highest y; global frame.

    Returns:
        The plan.
    """
    roads = [
        city_map.road_segments[i]
        for i in _near([r.polygon for r in city_map.road_segments], bounds_m)
    ]
    walkways = [city_map.walkways[i] for i in _near(city_map.walkways, bounds_m)]
    lanes = [city_map.lane_centerlines[i] for i in _near(city_map.lane_centerlines, bounds_m)]
    crossings = [city_map.ped_crossings[i] for i in _near(city_map.ped_crossings, bounds_m)]
    paint: list[tuple[Surface, NDArrayFloat]] = []
    for surface, lines in (
        (Surface.LANE_LINE, city_map.lane_dividers),
        (Surface.ROAD_LINE, city_map.road_dividers),
    ):
        near = [lines[i] for i in _near(lines, bounds_m)]
        quads = divider_quads(near, style, road=surface is Surface.ROAD_LINE)
        paint.extend((surface, quad) for quad in quads)
    points, directions = _lane_directions(lanes)
    for crossing in crossings:
        stripes, borders = crossing_paint(crossing, style, points, directions)
        if style.stripe_opacity > 0.05:
            paint.extend((Surface.STRIPE, outline) for outline in stripes)
        if style.border_opacity > 0.05:
            paint.extend((Surface.BORDER, outline) for outline in borders)
    return GroundPlan(
        tuple(_rings(w) for w in walkways),
        tuple((_rings(r.polygon), r.is_intersection) for r in roads),
        tuple(paint),
        style.edge_opacity > 0.05,
    )


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
    if joint_m:
        _draw_joints(surface, window, joint_m)
    road = np.zeros_like(surface)
    for rings, is_junction in plan.roads:
        _fill(road, rings, window, 255)
        _fill(surface, rings, window, Surface.JUNCTION if is_junction else Surface.ROAD)
    if plan.has_edge_lines:
        reach = max(int(round(_EDGE_LINE_INSET_M / window.resolution_m)), 1)
        inner = cv2.erode(road, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
        _draw_outline(surface, inner, 0.15, window, Surface.EDGE_LINE)
    _draw_outline(surface, road, _KERB_M, window, Surface.KERB)
    for kind, outline in plan.paint:
        cv2.fillConvexPoly(surface, window.fixed_point(outline), int(kind), cv2.LINE_8, SHIFT)
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
    cv2.fillPoly(image, [window.fixed_point(r) for r in rings], int(value), cv2.LINE_8, SHIFT)


def _draw_outline(
    surface: UInt8Image, mask: UInt8Image, width_m: float, window: Window, kind: Surface
) -> None:
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    thickness = max(int(round(width_m / window.resolution_m)), 1)
    cv2.drawContours(surface, contours, -1, int(kind), thickness)


def _draw_joints(surface: UInt8Image, window: Window, joint_m: float) -> None:
    step = max(int(round(joint_m / window.resolution_m)), 2)
    for line in (surface[::step], surface[:, ::step]):
        line[line == Surface.PAVEMENT] = Surface.JOINT


def _near(
    shapes: Sequence[Polygon | LineString], bounds_m: tuple[float, float, float, float]
) -> list[int]:
    if not shapes:
        return []
    boxes = shapely.bounds(np.array(shapes, dtype=object))
    low_x, low_y, high_x, high_y = bounds_m
    inside = (
        (boxes[:, 0] <= high_x)
        & (boxes[:, 2] >= low_x)
        & (boxes[:, 1] <= high_y)
        & (boxes[:, 3] >= low_y)
    )
    return [int(i) for i in np.flatnonzero(inside)]


def _rings(polygon: Polygon) -> list[NDArrayFloat]:
    return [np.asarray(r.coords)[:, :2] for r in (polygon.exterior, *polygon.interiors)]


def _lane_directions(lanes: Iterable[LineString]) -> tuple[NDArrayFloat, NDArrayFloat]:
    """Midpoints and unit directions of the segments of the lanes' centre lines."""
    points, directions = [np.empty((0, 2))], [np.empty((0, 2))]
    for lane in lanes:
        xy = np.asarray(lane.coords)[:, :2]
        step = np.diff(xy, axis=0)
        length = np.linalg.norm(step, axis=1, keepdims=True)
        points.append((xy[1:] + xy[:-1]) / 2)
        directions.append(step / np.maximum(length, 1e-9))
    return np.concatenate(points), np.concatenate(directions)
