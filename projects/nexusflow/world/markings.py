# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Road paint as polygons on the ground: lines with dashes, double lines, pedestrian crossings."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import shapely
from shapely.geometry import LineString, Polygon

from nexusflow.world.scene import NDArrayFloat
from nexusflow.world.styles import CityStyle

#: Length of the straight pieces that a solid line is made of, metres.
_SOLID_STEP_M = 1.5
#: Width of the border lines of a crossing, metres.
_BORDER_M = 0.3
#: Lanes farther than this from a crossing say nothing about the direction of its traffic, metres.
_TRAFFIC_RADIUS_M = 12.0


def line_quads(
    line: LineString, width_m: float, dash_m: NDArrayFloat, offset_m: float = 0.0
) -> NDArrayFloat:
    """Paints a line.

    Args:
        line: Centre line, metres.
        width_m: Width of the paint.
        dash_m: Painted length and gap; without a gap the line is solid.
        offset_m: Sideways shift of the paint, positive to the left.

    Returns:
        (N, 4, 2) quadrilaterals, metres.

    Examples:
        >>> line_quads(LineString([(0, 0), (10, 0)]), 0.2, np.array([3, 2])).shape
        (2, 4, 2)
    """
    xy = shapely.get_coordinates(line)
    steps = np.hypot(*np.diff(xy, axis=0).T)
    xy = xy[np.concatenate([[True], steps > 1e-6])]
    if len(xy) < 2:
        return np.empty((0, 4, 2))
    at = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
    on, off = dash_m
    if off <= 1e-3:
        cuts = np.unique(np.concatenate([np.arange(0.0, at[-1], _SOLID_STEP_M), [at[-1]]]))
        start, end = cuts[:-1], cuts[1:]
    else:
        start = np.arange(0.0, at[-1], on + off)
        end = np.minimum(start + on, at[-1])
    first, last = _at(xy, at, start), _at(xy, at, end)
    along = last - first
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    left = np.stack([-along[:, 1], along[:, 0]], axis=1)
    inner, outer = left * (offset_m - width_m / 2), left * (offset_m + width_m / 2)
    return np.stack([first + inner, last + inner, last + outer, first + outer], axis=1)


def _at(xy: NDArrayFloat, at: NDArrayFloat, where: NDArrayFloat) -> NDArrayFloat:
    return np.stack([np.interp(where, at, xy[:, i]) for i in (0, 1)], axis=1)


def divider_quads(lines: Iterable[LineString], style: CityStyle, road: bool) -> NDArrayFloat:
    """Paints dividers in the style of a city.

    Args:
        lines: Dividers, metres.
        style: The city's look.
        road: Whether they separate directions (else lanes of one direction).

    Returns:
        (N, 4, 2) quadrilaterals, metres.
    """
    dash = style.road_dash if road else style.lane_dash
    half = style.road_line_spacing / 2 if road else 0.0
    offsets = (-half, half) if half > style.line_width / 2 else (0.0,)
    quads = [line_quads(line, style.line_width, dash, shift) for line in lines for shift in offsets]
    return np.concatenate([np.empty((0, 4, 2)), *quads])


def crossing_paint(
    crossing: Polygon, style: CityStyle, lane_points: NDArrayFloat, lane_directions: NDArrayFloat
) -> tuple[list[NDArrayFloat], list[NDArrayFloat]]:
    """Paints a pedestrian crossing: stripes along the traffic, border lines along the walk.

    Args:
        crossing: Its outline, metres.
        style: The city's look.
        lane_points: (M, 2) points on lane centre lines; they tell where traffic goes.
        lane_directions: (M, 2) unit directions of the lanes there.

    Returns:
        stripes: Groups of (N, P, 2) convex outlines, metres.
        borders: The same.
    """
    outline = shapely.get_coordinates(crossing)
    origin = outline[0]
    # OpenCV's precision is single: the outline is moved to where that is enough.
    corners = origin + cv2.boxPoints(cv2.minAreaRect((outline - origin).astype(np.float32)))
    edges = corners[[1, 2]] - corners[[0, 1]]
    lengths = np.linalg.norm(edges, axis=1)
    if lengths.min() < 1e-3:
        return [], []
    axes = edges / lengths[:, None]
    across = _walk_axis(corners.mean(axis=0), axes, lengths, lane_points, lane_directions)
    walk, traffic = axes[across], axes[1 - across]
    walk_m, traffic_m = lengths[across], lengths[1 - across]
    width, gap = style.stripe
    count = max(int((walk_m + gap) // (width + gap)), 1)
    shifts = (np.arange(count) - (count - 1) / 2) * (width + gap)
    center = corners.mean(axis=0)
    # Stripes stop short of the border lines.
    stripe_m = traffic_m - 1.2 * _BORDER_M
    stripes = _rectangles(center + shifts[:, None] * walk, walk * width, traffic * stripe_m)
    edge = np.array([[-0.5], [0.5]]) * (traffic_m - _BORDER_M)
    borders = _rectangles(center + edge * traffic, walk * walk_m, traffic * _BORDER_M)
    return _clip(stripes, crossing), _clip(borders, crossing)


def _walk_axis(
    center: NDArrayFloat,
    axes: NDArrayFloat,
    lengths: NDArrayFloat,
    lane_points: NDArrayFloat,
    lane_directions: NDArrayFloat,
) -> int:
    """Index of the rectangle axis along which people walk: the one more across the traffic."""
    if len(lane_points):
        distance = np.linalg.norm(lane_points - center, axis=1)
        nearest = int(np.argmin(distance))
        if distance[nearest] < _TRAFFIC_RADIUS_M:
            return int(np.argmin(np.abs(axes @ lane_directions[nearest])))
    return int(np.argmax(lengths))


def _rectangles(center: NDArrayFloat, side: NDArrayFloat, other: NDArrayFloat) -> NDArrayFloat:
    """(N, 4, 2) rectangles of one size around (N, 2) centres."""
    signs = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    return np.asarray(center[:, None] + signs @ np.stack([side, other]))


def _clip(rectangles: NDArrayFloat, outline: Polygon) -> list[NDArrayFloat]:
    """The parts of (N, 4, 2) rectangles inside an outline: those wholly inside, then each of the others."""
    valid = outline if outline.is_valid else outline.buffer(0)
    shapes = shapely.polygons(rectangles)
    inside = shapely.covers(valid, shapes)
    result = [rectangles[inside]]
    for part in shapely.get_parts(shapely.intersection(shapes[~inside], valid)):
        if isinstance(part, Polygon) and part.area > 0.02:
            result.append(np.asarray(part.exterior.coords)[None, :, :2])
    return result
