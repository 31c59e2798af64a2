# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Camera images with projected boxes and map lines, and a mosaic of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from nexusflow.geometry.boxes import CORNER_EDGES, box_corners

from .canvas import (
    INK,
    MAP_COLORS,
    RGBImage,
    blend_polygon,
    draw_polyline,
    id_color,
    put_text,
)
from .content import SampleContent

__all__ = [
    'LIDAR_HEIGHT_M',
    'camera_mosaic',
    'cell_width',
    'draw_on_camera',
    'project_segments',
    'resized',
]

LIDAR_HEIGHT_M = 1.84
"""Height of nuScenes' lidar above the ground: where map lines are drawn unless told otherwise."""

_NEAR_M = 0.5
_STEP_M = 0.5
_GAP = 4
_FRONT_FACE = (4, 5, 7, 6)
_ROWS = (
    ('CAM_FRONT_LEFT', 'CAM_FRONT', 'CAM_FRONT_RIGHT'),
    ('CAM_BACK_LEFT', 'CAM_BACK', 'CAM_BACK_RIGHT'),
)


def project_segments(
    segments_m: NDArray[np.floating], lidar2img: NDArray[np.floating], near_m: float = _NEAR_M
) -> NDArray[np.float64]:
    """Project straight segments, cut off where they pass behind the camera.

    Args:
        segments_m: (S, 2, 3) ends, lidar frame, metres.
        lidar2img: (4, 4) projection to (u d, v d, d).
        near_m: Depth of the plane at which segments are cut.

    Returns:
        (R, 2, 2) pixels of the R <= S segments that reach in front of that plane.
    """
    ends = np.asarray(segments_m, dtype=np.float64).reshape(-1, 2, 3)
    matrix = np.asarray(lidar2img, dtype=np.float64)
    image = ends @ matrix[:3, :3].T + matrix[:3, 3]
    image = image[(image[..., 2] > near_m).any(axis=1)]
    for here, there in ((0, 1), (1, 0)):
        behind = image[:, here, 2] < near_m
        a, b = image[behind, here], image[behind, there]
        part = (near_m - a[:, 2:]) / (b[:, 2:] - a[:, 2:])
        image[behind, here] = a + part * (b - a)
    return image[..., :2] / image[..., 2:]


def draw_on_camera(
    image: RGBImage,
    lidar2img: NDArray[np.floating],
    content: SampleContent,
    ground_z_m: float = -LIDAR_HEIGHT_M,
) -> RGBImage:
    """Draw boxes and map lines into one camera image.

    Args:
        image: (H, W, 3) RGB, left as it is.
        lidar2img: (4, 4) projection into this image.
        content: What to draw.
        ground_z_m: Height of the ground in the lidar frame.

    Returns:
        A new (H, W, 3) RGB image.
    """
    out = np.ascontiguousarray(image).copy()
    thick = max(1, round(out.shape[1] / 250))
    for name, line in zip(content.line_names, content.lines, strict=True):
        points = _densified(np.asarray(line, dtype=np.float64), ground_z_m)
        segments = np.stack([points[:-1], points[1:]], axis=1)
        for segment in project_segments(segments, lidar2img):
            draw_polyline(out, segment, MAP_COLORS.get(name, INK), thick)
    boxes = np.asarray(content.boxes, dtype=np.float64).reshape(-1, 7)
    for i in np.argsort(-np.hypot(boxes[:, 0], boxes[:, 1])):
        _draw_box(out, box_corners(boxes[i : i + 1])[0], lidar2img, content.ids[i], thick)
    return out


def _densified(line: NDArray[np.float64], z_m: float) -> NDArray[np.float64]:
    """A polyline (P, 2) as points (Q, 3) at one height, at most half a metre apart."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    want = np.linspace(0.0, along[-1], max(2, int(along[-1] / _STEP_M) + 1))
    x, y = (np.interp(want, along, line[:, axis]) for axis in (0, 1))
    return np.stack([x, y, np.full_like(x, z_m)], axis=1)


def _draw_box(
    image: RGBImage,
    corners_m: NDArray[np.float64],
    lidar2img: NDArray[np.floating],
    track_id: object,
    thick: int,
) -> None:
    """The edges of a box; its front face is tinted when it lies wholly before the camera."""
    color = id_color(track_id)
    front = [(_FRONT_FACE[i], _FRONT_FACE[(i + 1) % 4]) for i in range(4)]
    face = project_segments(corners_m[np.array(front)], lidar2img)
    if len(face) == 4 and np.abs(face).max() < 8 * max(image.shape):
        blend_polygon(image, face[:, 0], color, 0.25)
    for segment in project_segments(corners_m[np.array(CORNER_EDGES)], lidar2img):
        draw_polyline(image, segment, color, thick)


def resized(
    image: RGBImage, lidar2img: NDArray[np.floating], width: int
) -> tuple[RGBImage, NDArray[np.float64]]:
    """An image at another width, and the projection into it.

    Args:
        image: (H, W, 3) RGB.
        lidar2img: (4, 4) projection into ``image``.
        width: New width, pixels; the ratio of the sides stays.

    Returns:
        The new image and its (4, 4) projection.
    """
    old_h, old_w = image.shape[:2]
    height = max(1, round(old_h * width / old_w))
    way = cv2.INTER_AREA if width < old_w else cv2.INTER_CUBIC
    scale_u, scale_v = width / old_w, height / old_h
    change = np.diag([scale_u, scale_v, 1.0, 1.0])
    change[:2, 2] = (scale_u - 1) / 2, (scale_v - 1) / 2
    return cv2.resize(image, (width, height), interpolation=way), change @ lidar2img


def cell_width(width: int, columns: int = 3) -> int:
    """Width of one image in a mosaic of a given width."""
    return (width - _GAP * (columns - 1)) // columns


def camera_mosaic(
    images: Mapping[str, RGBImage], width: int = 1200, rows: Sequence[Sequence[str]] = _ROWS
) -> RGBImage:
    """Camera images in a grid, as seen from the vehicle: front row above, back row below.

    Args:
        images: Camera name to RGB image; other names than nuScenes' fill rows of three.
        width: Width of the mosaic, pixels.
        rows: Names of the cameras in each row.

    Returns:
        (H, width, 3) RGB picture; a missing camera leaves its place empty.
    """
    if not set(images) <= {name for row in rows for name in row}:
        names = list(images)
        rows = [names[i : i + 3] for i in range(0, len(names), 3)]
    gap = _GAP
    cell_w = cell_width(width, max(map(len, rows)))
    ratio = max(image.shape[0] / image.shape[1] for image in images.values())
    cell_h = round(cell_w * ratio)
    sheet = np.full((len(rows) * (cell_h + gap) - gap, width, 3), 255, dtype=np.uint8)
    for r, row in enumerate(rows):
        for c, name in enumerate(row):
            if name not in images:
                continue
            height = round(cell_w * images[name].shape[0] / images[name].shape[1])
            way = cv2.INTER_AREA if images[name].shape[1] > cell_w else cv2.INTER_CUBIC
            cell = cv2.resize(images[name], (cell_w, height), interpolation=way)
            _label(cell, name.removeprefix('CAM_').replace('_', ' ').lower())
            top, left = r * (cell_h + gap), c * (cell_w + gap)
            sheet[top : top + height, left : left + cell_w] = cell
    return sheet


def _label(image: RGBImage, text: str) -> None:
    """A dark tag with the camera's name at the top left."""
    size = max(10, image.shape[1] // 34)
    tag = np.array([[0, 0], [size * (0.56 * len(text) + 0.9), 0]])
    corners = np.concatenate([tag, tag[::-1] + [0, size * 1.6]])
    blend_polygon(image, corners, INK, 0.6)
    put_text(image, (size * 0.45, size * 0.8), text, size, (255, 255, 255), 'lm')
