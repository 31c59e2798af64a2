# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A sample seen from above: map lines, boxes with heading and identity, the ego vehicle, a scale.

The lidar frame with y (forward) up and x (right) to the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .canvas import (
    INK,
    MAP_COLORS,
    PAPER,
    Color,
    RGBImage,
    blend_polygon,
    draw_polyline,
    id_color,
    put_text,
)
from .content import SampleContent

__all__ = ['TITLE_HEIGHT', 'BevView', 'bev_panels', 'draw_bev']

_GRID: Color = (228, 231, 236)
_FRAME: Color = (173, 181, 189)
_EGO_M = np.array([[-0.95, -2.0], [0.95, -2.0], [0.95, 1.6], [0.0, 2.6], [-0.95, 1.6]])
_RING_GAP_M = 0.5

TITLE_HEIGHT = 24
"""Height of the title above a panel, pixels."""


@dataclass(frozen=True)
class BevView:
    """Which part of the ground is drawn, and how large.

    Attributes:
        range_m: x_min, y_min, x_max, y_max of the picture.
        map_range_m: The same of the frame inside which the map is judged.
        pixels_per_m: Scale.
    """

    range_m: tuple[float, float, float, float] = (-30.0, -35.0, 30.0, 35.0)
    map_range_m: tuple[float, float, float, float] = (-15.0, -30.0, 15.0, 30.0)
    pixels_per_m: float = 7.0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        x_min, y_min, x_max, y_max = self.range_m
        scale = self.pixels_per_m
        return round((x_max - x_min) * scale), round((y_max - y_min) * scale)

    def to_pixels(self, points_m: NDArray[np.floating]) -> NDArray[np.float64]:
        """Pixels (..., 2) of lidar-frame points (..., >=2); integers are pixel centres."""
        points = np.asarray(points_m, dtype=np.float64)
        u = (points[..., 0] - self.range_m[0]) * self.pixels_per_m - 0.5
        v = (self.range_m[3] - points[..., 1]) * self.pixels_per_m - 0.5
        return np.stack([u, v], axis=-1)


def footprints(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Outlines of boxes on the ground.

    Args:
        boxes: (M, >=7) x, y, z, length, width, height, yaw.

    Returns:
        (M, 4, 2) metres: front left, front right, back right, back left.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, np.shape(boxes)[-1])
    local = np.array([[0.5, 0.5], [0.5, -0.5], [-0.5, -0.5], [-0.5, 0.5]]) * boxes[:, None, 3:5]
    cos, sin = np.cos(boxes[:, 6, None]), np.sin(boxes[:, 6, None])
    x = local[..., 0] * cos - local[..., 1] * sin
    y = local[..., 0] * sin + local[..., 1] * cos
    return np.stack([x, y], axis=-1) + boxes[:, None, :2]


def draw_bev(content: SampleContent, view: BevView | None = None) -> RGBImage:
    """Draw one sample.

    Args:
        content: What to draw.
        view: Range and scale.

    Returns:
        (H, W, 3) RGB picture of ``view.size``.
    """
    view = view or BevView()
    image = _ground(view)
    thick = max(1, round(view.pixels_per_m * 0.32))
    for name, line in zip(content.line_names, content.lines, strict=True):
        pixels, color = view.to_pixels(line), MAP_COLORS.get(name, INK)
        if name == 'ped_crossing' and np.linalg.norm(line[0] - line[-1]) < _RING_GAP_M:
            blend_polygon(image, pixels, color, 0.14)
        draw_polyline(image, pixels, color, thick)
    for track_id, trail in content.trails.items():
        draw_polyline(image, view.to_pixels(trail), id_color(track_id), max(1, thick - 1))
    for outline, track_id in zip(footprints(content.boxes), content.ids, strict=True):
        _draw_box(image, view.to_pixels(outline), id_color(track_id), thick)
    blend_polygon(image, view.to_pixels(_EGO_M), INK, 0.9)
    _draw_scale(image, view)
    _draw_legend(image)
    return image


def _ground(view: BevView) -> RGBImage:
    """Paper with a grid of 10 m and the frame of the map range."""
    width, height = view.size
    image = np.empty((height, width, 3), dtype=np.uint8)
    image[:] = PAPER
    x_min, y_min, x_max, y_max = view.map_range_m
    corners = np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]])
    blend_polygon(image, view.to_pixels(corners), (255, 255, 255), 1.0)
    left, bottom, right, top = view.range_m
    for x in np.arange(np.ceil(left / 10) * 10, right + 1e-6, 10):
        draw_polyline(image, view.to_pixels(np.array([[x, bottom], [x, top]])), _GRID)
    for y in np.arange(np.ceil(bottom / 10) * 10, top + 1e-6, 10):
        draw_polyline(image, view.to_pixels(np.array([[left, y], [right, y]])), _GRID)
    draw_polyline(image, view.to_pixels(corners), _FRAME, 1, closed=True)
    return image


def _draw_box(image: RGBImage, outline: NDArray[np.float64], color: Color, thick: int) -> None:
    """A translucent box, its outline, and a line from its centre through its front."""
    blend_polygon(image, outline, color, 0.35)
    draw_polyline(image, outline, color, max(1, thick - 1), closed=True)
    middle, front = outline.mean(axis=0), outline[:2].mean(axis=0)
    tip = middle + (front - middle) * 1.35
    draw_polyline(image, np.stack([middle, tip]), color, max(1, thick - 1))


def _draw_scale(image: RGBImage, view: BevView) -> None:
    """A bar of 10 m at the bottom left."""
    start = np.array([10.0, image.shape[0] - 10.0])
    end = start + [10.0 * view.pixels_per_m, 0.0]
    _plate(image, start - [6.0, 18.0], end + 6.0)
    draw_polyline(image, np.stack([start, end]), INK, 2)
    put_text(image, (start + end) / 2 - [0, 4], '10 m', 11, INK, 'ms')


def _plate(image: RGBImage, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
    """A bright ground for writing, between two corners."""
    corners = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    blend_polygon(image, corners, PAPER, 0.75)


def _draw_legend(image: RGBImage) -> None:
    """Names of the map colours at the bottom right."""
    right, bottom = image.shape[1] - 10.0, image.shape[0] - 12.0
    _plate(image, np.array([right - 82, bottom - 36]), np.array([right + 5, bottom + 8]))
    for row, (name, color) in enumerate(reversed(MAP_COLORS.items())):
        v = bottom - 14 * row
        draw_polyline(image, np.array([[right - 16, v], [right, v]]), color, 2)
        put_text(image, (right - 21, v), name.replace('ped_', ''), 11, INK, 'rm')


def bev_panels(
    panels: Sequence[tuple[str, SampleContent]], view: BevView | None = None
) -> RGBImage:
    """Several contents of one sample side by side, each under its title.

    Args:
        panels: Title and content of each panel, e.g. ground truth beside predictions.
        view: Range and scale of each.

    Returns:
        (H, W, 3) RGB picture.
    """
    view = view or BevView()
    width, height = view.size
    head, gap = TITLE_HEIGHT, 8
    sheet = np.full((height + head, len(panels) * (width + gap) - gap, 3), 255, dtype=np.uint8)
    for i, (title, content) in enumerate(panels):
        left = i * (width + gap)
        sheet[head:, left : left + width] = draw_bev(content, view)
        put_text(sheet, (left + 2, head / 2), title, 14, INK, 'lm')
    return sheet
