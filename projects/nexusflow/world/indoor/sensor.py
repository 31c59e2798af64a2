# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What a colour-and-depth camera makes of a room: tone, blur and noise, and where it measures nothing.

Depth and normals stay exact; like a Kinect, the sensor only has places without them: the border of
the image, the shadow of its infra-red projector beside near things (there the labels are missing
too), glass, dark screens, and surfaces seen at a grazing angle.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from nexusflow.world.indoor.camera import FOCAL
from nexusflow.world.indoor.solids import Floats
from nexusflow.world.indoor.spec import label_of

Bools = NDArray[np.bool_]
#: Distance between the projector and the camera of a Kinect, metres.
_BASELINE_M = 0.075
_BORDER = 0.012
_GRAZING = 0.09


def develop(light: Floats, rng: np.random.Generator) -> Floats:
    """Makes a picture of light.

    Args:
        light: (H, W, 3) RGB light.
        rng: Of exposure, white balance and noise.

    Returns:
        (H, W, 3) float32 RGB in [0, 1], steps of 1 / 255 as in an 8-bit picture.
    """
    exposure = rng.uniform(0.38, 0.55) / max(float(light.mean()), 0.05)
    balance = exposure * rng.uniform(0.93, 1.07, 3)
    image = cv2.GaussianBlur((light * balance).astype(np.float32), (3, 3), 0.55)
    image = image / (1.0 + 0.25 * image)
    image = image + rng.uniform(0.006, 0.022) * rng.standard_normal(image.shape, np.float32)
    return np.asarray(np.round(np.clip(image, 0.0, 1.0) * 255.0) / 255.0, np.float32)


def border(shape: tuple[int, ...]) -> Bools:
    """(H, W) true in the thin border that has no measurements."""
    width = max(1, round(_BORDER * shape[1]))
    outside = np.ones(shape, bool)
    outside[width:-width, width:-width] = False
    return outside


def projector_shadow(depth: Floats) -> Bools:
    """(H, W) true where the projector, left of the camera, does not reach.

    A point at depth z is lit by the projector's column x + b f / z. In a row that column must grow
    with x; where a nearer thing to the left has reached further, there is shadow.
    """
    height, width = depth.shape
    column = np.arange(width) + _BASELINE_M * FOCAL * width / depth
    return np.asarray(column < np.maximum.accumulate(column, axis=1) - 0.5)


def no_depth(
    depth: Floats, labels: NDArray[np.int8], facing: Floats, rng: np.random.Generator
) -> Bools:
    """(H, W) where the sensor measures no depth.

    Args:
        depth: (H, W) metres.
        labels: (H, W) classes.
        facing: (H, W) cosine between the normal and the direction to the camera.
        rng: Of the holes.
    """
    holes = projector_shadow(depth) | (facing < _GRAZING) | border(labels.shape)
    height, width = labels.shape
    coarse = rng.uniform(0.0, 1.0, (9, 12)).astype(np.float32)
    spots = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    dark = (labels == label_of('window')) | (labels == label_of('tv'))
    return np.asarray(holes | (dark & (spots > 0.55)) | (spots > 0.99))


def no_label(depth: Floats, labels: NDArray[np.int8]) -> Bools:
    """(H, W) where nobody has labelled: the border, and the projector's shadow."""
    return projector_shadow(depth) | border(labels.shape)
