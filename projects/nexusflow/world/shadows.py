# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Shadows of upright boxes on the ground."""

from __future__ import annotations

import cv2
import numpy as np

from nexusflow.world.drawing import UInt8Image, fill_convex
from nexusflow.world.scene import NDArrayFloat
from nexusflow.world.view import View, project_faces


def darken(
    canvas: UInt8Image, first_row: int, quads_m: NDArrayFloat, gain: float, view: View
) -> None:
    """Darkens the ground where a camera sees shadows.

    Args:
        canvas: (H, W, 4) picture with the ground; the fourth channel is left alone.
        first_row: First row of the ground.
        quads_m: (F, 4, 3) convex faces, global frame.
        gain: Brightness of ground in shadow relative to ground in light.
        view: The camera.
    """
    faces = project_faces(view.to_camera(quads_m), view)
    if not faces.polygons:
        return
    x0, y0 = faces.boxes[:, :2].min(axis=0).tolist()
    x1, y1 = faces.boxes[:, 2:].max(axis=0).tolist()
    y0 = max(y0, first_row)
    if y1 <= y0:
        return
    mask = np.zeros(canvas.shape[:2], np.uint8)
    fill_convex(mask, faces.polygons, 255)
    ground = canvas[y0:y1, x0:x1]
    dark = cv2.multiply(ground, np.array([gain, gain, gain, 1.0]))
    cv2.copyTo(dark, mask[y0:y1, x0:x1], ground)


def shadow_quads(
    bottom_m: NDArrayFloat, yaw_rad: NDArrayFloat, size_lwh_m: NDArrayFloat, sun: NDArrayFloat
) -> NDArrayFloat:
    """The shadows of upright boxes on the ground.

    Args:
        bottom_m: (K, 3) centres of the undersides, global frame.
        yaw_rad: (K,) headings.
        size_lwh_m: (K, 3) sizes.
        sun: (3,) unit vector towards the sun.

    Returns:
        (6 K, 4, 3) quadrilaterals that together cover the shadows; z = 0.
    """
    half = np.array([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]]) * (
        size_lwh_m[:, None, :2] * 0.96 + 0.06
    )
    cos, sin = np.cos(yaw_rad)[:, None], np.sin(yaw_rad)[:, None]
    x = cos * half[..., 0] - sin * half[..., 1] + bottom_m[:, None, 0]
    y = sin * half[..., 0] + cos * half[..., 1] + bottom_m[:, None, 1]
    base = np.stack([x, y, np.zeros_like(x)], axis=-1)
    cast = -sun[:2] / max(float(sun[2]), 0.2)
    shift = np.zeros((len(base), 1, 3))
    shift[:, 0, :2] = 0.85 * size_lwh_m[:, 2:] * cast
    top, following = base + shift, np.roll(base, -1, axis=1)
    swept = np.stack([base, following, following + shift, top], axis=2)
    quads = np.concatenate([base[:, None], top[:, None], swept], axis=1)
    return np.asarray(quads.reshape(-1, 4, 3))
