# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Colours, text, and lines with sub-pixel ends on RGB images.

Images are (H, W, 3) uint8 RGB. Pixels: integer coordinates are pixel centres.
"""

from __future__ import annotations

import colorsys
import os
import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nexusflow.evaluation.functional.files import write_bytes

__all__ = [
    'INK',
    'MAP_COLORS',
    'PAPER',
    'Color',
    'RGBImage',
    'blend_polygon',
    'draw_polyline',
    'encode_image',
    'id_color',
    'put_text',
    'read_image',
    'write_image',
]

Color = tuple[int, int, int]
RGBImage = NDArray[np.uint8]

INK: Color = (33, 37, 41)
PAPER: Color = (247, 248, 250)

MAP_COLORS: dict[str, Color] = {
    'divider': (245, 140, 20),
    'ped_crossing': (40, 90, 230),
    'boundary': (30, 150, 70),
}
"""As in MapTR's pictures: dividers orange, crossings blue, boundaries green."""

_SHIFT = 4
_FAR_PX = 1 << 22
_GOLDEN = 0.6180339887498949


def id_color(track_id: object) -> Color:
    """A colour for an identity; consecutive numbers get colours far apart.

    Args:
        track_id: A number, or a text whose last digits are one; other texts are hashed.
    """
    number = re.search(r'\d+$', str(track_id))
    index = int(number.group()) if number else zlib.crc32(str(track_id).encode())
    hue = (0.58 + index * _GOLDEN) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.82)
    return round(255 * red), round(255 * green), round(255 * blue)


def _fixed(points: NDArray[np.floating]) -> NDArray[np.int32]:
    """Pixels in OpenCV's fixed-point form."""
    limited = np.clip(points, -_FAR_PX, _FAR_PX)
    return np.round(np.asarray(limited) * (1 << _SHIFT)).astype(np.int32).reshape(-1, 1, 2)


def draw_polyline(
    image: RGBImage,
    points: NDArray[np.floating],
    color: Color,
    thickness: int = 1,
    closed: bool = False,
) -> None:
    """Draw a smooth line in place.

    Args:
        image: Changed in place.
        points: (P, 2) pixels, may lie outside.
        color: RGB.
        thickness: Pixels.
        closed: Whether the last point is joined to the first.
    """
    cv2.polylines(image, [_fixed(points)], closed, color, thickness, cv2.LINE_AA, _SHIFT)


def blend_polygon(
    image: RGBImage, points: NDArray[np.floating], color: Color, alpha: float
) -> None:
    """Fill a polygon translucently, in place.

    Args:
        image: Changed in place.
        points: (P, 2) pixels, may lie outside.
        color: RGB.
        alpha: Opacity in [0, 1].
    """
    height, width = image.shape[:2]
    low = np.clip(np.floor(points.min(axis=0)), 0, [width, height]).astype(int)
    high = np.clip(np.ceil(points.max(axis=0)) + 1, 0, [width, height]).astype(int)
    if (high <= low).any():
        return
    part = image[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(part.shape[:2], dtype=np.uint8)
    cv2.fillPoly(mask, [_fixed(points - low)], 255, cv2.LINE_AA, _SHIFT)
    weight = mask[..., None] * (alpha / 255.0)
    part[:] = np.round(part * (1 - weight) + np.array(color) * weight).astype(np.uint8)


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def put_text(
    image: RGBImage,
    at: Sequence[float],
    text: str,
    size: int = 12,
    color: Color = INK,
    anchor: str = 'la',
) -> None:
    """Write text in place.

    Args:
        image: Changed in place.
        at: (u, v) pixels of the anchor.
        text: One line.
        size: Height of the font, pixels.
        color: RGB.
        anchor: Which point of the text ``at`` is, in Pillow's terms: ``'la'`` is top left, ``'mm'``
            the middle, ``'rs'`` the end of the base line.
    """
    picture = Image.fromarray(image)
    ImageDraw.Draw(picture).text((at[0], at[1]), text, fill=color, font=_font(size), anchor=anchor)
    image[:] = np.asarray(picture)


def encode_image(image: RGBImage, suffix: str = '.png', quality: int = 88) -> bytes:
    """An image as the bytes of a file; ``quality`` is for ``'.jpg'``."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == '.jpg' else []
    return cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]), options)[1].tobytes()


def write_image(path: str | os.PathLike[str], image: RGBImage) -> Path:
    """Write an image atomically, in the format of the suffix."""
    return write_bytes(path, encode_image(image, Path(path).suffix))


def read_image(path: str | os.PathLike[str]) -> RGBImage:
    """Read an image.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It cannot be decoded; the message names the file.
    """
    data = np.frombuffer(Path(path).read_bytes(), dtype=np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise ValueError(f'{path}: not a readable image (truncated?); fetch or render it again')
    return np.ascontiguousarray(image[..., ::-1])
