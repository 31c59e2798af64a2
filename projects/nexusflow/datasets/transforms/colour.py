# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Colour jitter as one affine map of RGB, so that it costs one pass over the pixels."""

from __future__ import annotations

import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114])
_RGB_TO_YIQ = np.array([_LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def colour_matrix(
    rng: np.random.Generator,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue_deg: float = 0.0,
) -> np.ndarray:
    """Draw brightness, contrast, saturation and hue, and join them.

    Args:
        rng: Source of the draws.
        brightness: Largest shift, grey levels of 255.
        contrast: Largest relative change of the distance from middle grey.
        saturation: Largest relative change of the distance from the pixel's own grey.
        hue_deg: Largest rotation of the chroma plane, degrees.

    Returns:
        (3, 4) matrix on (R, G, B, 1), values 0 to 255.
    """
    shift, gain, chroma, hue = rng.uniform(-1, 1, 4) * (brightness, contrast, saturation, hue_deg)
    cos, sin = np.cos(np.deg2rad(hue)), np.sin(np.deg2rad(hue))
    turn = np.array([[1.0, 0, 0], [0, cos, -sin], [0, sin, cos]])
    turn[1:] *= 1 + chroma
    linear = (1 + gain) * np.linalg.inv(_RGB_TO_YIQ) @ turn @ _RGB_TO_YIQ
    offset = np.full((3, 1), 127.5 * -gain + shift)
    return np.hstack([linear, offset])
