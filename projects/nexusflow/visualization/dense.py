# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Pictures of dense tasks: an image, its labels and its predictions side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .canvas import INK, RGBImage, id_color, put_text

__all__ = ['dense_panel', 'dense_sheet']

PANEL_WIDTH = 240
HEAD = 24
PAD = 6


def dense_panel(values: NDArray, top: float) -> RGBImage:
    """A raster as a picture.

    Args:
        values: (C, H, W): integers of one channel are classes, a negative one is black; three
            channels are unit vectors; else one channel of numbers.
        top: The number that is brightest.

    Returns:
        (H, W, 3) RGB.
    """
    if np.issubdtype(values.dtype, np.integer):
        classes = values[0]
        colors = np.array([id_color(i) for i in range(max(classes.max() + 1, 1))], dtype=np.uint8)
        return np.where(classes[..., None] < 0, 0, colors[np.maximum(classes, 0)]).astype(np.uint8)
    if len(values) == 3:
        length = np.linalg.norm(values, axis=0)
        shown = (values + 1) / 2 * (length > 0)
        return np.round(255 * np.clip(shown, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    share = np.clip(values[0] / max(top, 1e-6), 0, 1)
    colored = cv2.applyColorMap(np.round(255 * share).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return np.where(values[0][..., None] > 0, colored[..., ::-1], 0).astype(np.uint8)


def dense_sheet(title: str, image: NDArray, sample: Any) -> RGBImage:
    """The image, and in a column for each prediction ``pred_<name>`` its label over it.

    Args:
        title: Text over the image.
        image: (3, H, W) RGB in [0, 1].
        sample: Data sample with ``gt_<name>`` and ``pred_<name>``.

    Returns:
        (H', W', 3) RGB picture.
    """
    pixels = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    columns = [[(title, np.ascontiguousarray(pixels))]]
    for name in sorted(key for key in sample.keys() if key.startswith('pred_')):
        task = name.removeprefix('pred_')
        label, found = (sample.get(key).data.detach().cpu().numpy() for key in (f'gt_{task}', name))
        top = float(label.max()) if label.size else 1.0
        columns.append(
            [
                (f'{task}, label', dense_panel(label, top)),
                (f'{task}, prediction', dense_panel(found, top)),
            ]
        )
    return _table(columns)


def _table(columns: Sequence[Sequence[tuple[str, RGBImage]]]) -> RGBImage:
    """Panels of one width under their titles, in columns."""
    height, width = columns[0][0][1].shape[:2]
    size = (PANEL_WIDTH, round(height * PANEL_WIDTH / width))
    step = size[1] + HEAD
    sheet = np.full((2 * step + PAD, len(columns) * (size[0] + PAD) + PAD, 3), 255, dtype=np.uint8)
    for j, column in enumerate(columns):
        left = PAD + j * (size[0] + PAD)
        for i, (title, panel) in enumerate(column):
            put_text(sheet, (left, i * step + HEAD / 2), title, 13, INK, 'lm')
            top = i * step + HEAD
            # whole pixels: an interpolated class would be another one
            shown = cv2.resize(panel, size, interpolation=cv2.INTER_NEAREST)
            sheet[top : top + size[1], left : left + size[0]] = shown
    return sheet
