# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Shadows of upright boxes on the ground."""

from __future__ import annotations

import cv2
import numpy as np

from nexusflow.world.drawing import UInt8Image, fill_convex, footprints
from nexusflow.world.scene import NDArrayFloat
from nexusflow.world.view import CanvasFaces


class Darkener:
    """Darkens the ground in shadows; keeps what it needs for canvases of one size.

    Args:
        shape: (H, W) of the canvases.
        gain: Brightness of ground in shadow relative to ground in light.
    """

    def __init__(self, shape: tuple[int, int], gain: float) -> None:
        self._gain = gain
        self._mask = np.zeros(shape, np.uint8)
        self._opaque = np.zeros((*shape, 4), np.uint8)
        self._opaque[..., 3] = 255

    def darken(self, canvas: UInt8Image, first_row: int, shadows: CanvasFaces) -> None:
        """Darkens what lies in shadows.

        Args:
            canvas: (H, W, 4) picture with the ground; the fourth channel is 255 and stays so.
            first_row: First row of the ground.
            shadows: The shadows.
        """
        if not shadows.polygons:
            return
        x0, y0 = shadows.boxes[:, :2].min(axis=0).tolist()
        x1, y1 = shadows.boxes[:, 2:].max(axis=0).tolist()
        fill_convex(self._mask, shadows.polygons, 255)
        ground = slice(max(y0, first_row), y1), slice(x0, x1)
        if y1 > first_row:
            dark = cv2.convertScaleAbs(canvas[ground], alpha=self._gain)
            cv2.bitwise_or(dark, self._opaque[ground], dst=dark)
            cv2.copyTo(dark, self._mask[ground], canvas[ground])
        self._mask[y0:y1, x0:x1] = 0


def shadow_quads(
    bottom_m: NDArrayFloat, yaw_rad: NDArrayFloat, size_lwh_m: NDArrayFloat, sun: NDArrayFloat
) -> NDArrayFloat:
    """The shadows of upright boxes on the ground.

    A shadow is the convex hull of the footprint and the footprint moved away from the sun: a hexagon, given as two
    quadrilaterals.

    Args:
        bottom_m: (K, 3) centres of the undersides, global frame.
        yaw_rad: (K,) headings.
        size_lwh_m: (K, 3) sizes.
        sun: (3,) unit vector towards the sun.

    Returns:
        (2 K, 4, 3) quadrilaterals that together cover the shadows; z = 0.
    """
    away = -sun[:2] / max(float(sun[2]), 0.2)
    base = footprints(bottom_m[:, :2], yaw_rad, size_lwh_m[:, :2] * 0.96 + 0.06)
    # The corners run counter-clockwise; now the first one is the leftmost as seen along the shadow.
    leftmost = np.argmax(base @ (-away[1], away[0]), axis=1)
    turn = (leftmost[:, None] + np.arange(4)) % 4
    base = base[np.arange(len(base))[:, None], turn]
    tip = base + 0.85 * size_lwh_m[:, None, 2:] * away
    rear = [base[:, 0], base[:, 1], base[:, 2], tip[:, 2]]
    front = [tip[:, 2], tip[:, 3], tip[:, 0], base[:, 0]]
    quads = np.zeros((2 * len(base), 4, 3))
    quads[0::2, :, :2], quads[1::2, :, :2] = np.stack(rear, axis=1), np.stack(front, axis=1)
    return quads
