# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""From the canvas to the image as a camera records it: size, tone, noise."""

from __future__ import annotations

import cv2
import numpy as np

from nexusflow.world.drawing import UInt8Image
from nexusflow.world.scene import NDArrayFloat, NDArrayInt
from nexusflow.world.styles import CityStyle

#: The noise of an image is a cut of a larger sheet, at one of so many places along each side.
_PLACES = 65


class Sensor:
    """Develops the images of one scene.

    Args:
        size_wh: Width and height of the largest image, pixels.
        style: Tone and noise.
        rng: Of the noise.
    """

    def __init__(
        self, size_wh: tuple[int, int], style: CityStyle, rng: np.random.Generator
    ) -> None:
        width, height = size_wh
        shape = (height + _PLACES - 1, width + _PLACES - 1, 3)
        noise = np.round(rng.standard_normal(shape, dtype=np.float32) * style.noise)
        # Unsigned images are added and taken away several times faster than signed ones.
        self._brighter = np.maximum(noise, 0.0).astype(np.uint8)
        self._darker = np.maximum(-noise, 0.0).astype(np.uint8)
        self._tone = _tone_table(style)

    @staticmethod
    def places(images: int, rng: np.random.Generator) -> NDArrayInt:
        """(images, 2) places on the sheet of noise."""
        return rng.integers(_PLACES, size=(images, 2))

    def develop(
        self, canvas: UInt8Image, size_wh: tuple[int, int], place: NDArrayInt
    ) -> UInt8Image:
        """Makes an image.

        Args:
            canvas: (H, W, 4) picture.
            size_wh: Width and height of the image, pixels.
            place: (2,) one of ``places``.

        Returns:
            (height, width, 3) BGR image.
        """
        scaled = cv2.resize(canvas, size_wh, interpolation=cv2.INTER_AREA)
        image = cv2.LUT(cv2.cvtColor(scaled, cv2.COLOR_BGRA2BGR), self._tone)
        y, x = place.tolist()
        cut = slice(y, y + image.shape[0]), slice(x, x + image.shape[1])
        cv2.add(image, self._brighter[cut], dst=image)
        cv2.subtract(image, self._darker[cut], dst=image)
        return np.asarray(image, np.uint8)


def _tone_table(style: CityStyle) -> UInt8Image:
    """(1, 256, 3) contrast and colour of the light as a look-up table."""
    level: NDArrayFloat = np.arange(256.0)[:, None] * style.light_color
    toned = 128.0 + (level - 128.0) * style.contrast
    return np.asarray(np.clip(np.round(toned), 0, 255)[None], np.uint8)
