# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What lies behind everything: the sky, and a hazy skyline fixed to the compass."""

from __future__ import annotations

import cv2
import numpy as np

from nexusflow.world.camera import Camera
from nexusflow.world.drawing import SHIFT, UInt8Image, fixed_point
from nexusflow.world.styles import CityStyle

_BLOCKS = 180


class Backdrop:
    """Starts the pictures of one camera.

    Args:
        camera: The camera.
        supersampling: Canvas pixels per image pixel and side.
        horizon_row: First canvas row of the ground.
        style: The city's look.
        rng: Of the skyline.
    """

    def __init__(
        self,
        camera: Camera,
        supersampling: int,
        horizon_row: int,
        style: CityStyle,
        rng: np.random.Generator,
    ) -> None:
        rows, columns = camera.height * supersampling, camera.width * supersampling
        self._horizon_row = horizon_row
        self._intrinsics = camera.cam2img * supersampling
        forward = camera.cam2ego[:3, 2]
        self._yaw = float(np.arctan2(forward[1], forward[0]))
        self._half_view = float(np.arctan(camera.width / camera.cam2img[0, 0] / 2)) + 0.1
        rise = (self._intrinsics[1, 2] - np.arange(rows)) / self._intrinsics[1, 1]
        blend = np.clip(rise / 0.6, 0.0, 1.0)[:, None] ** 0.7
        sky = style.sky_horizon * (1 - blend) + style.sky_top * blend
        sky = np.column_stack([sky, np.full(rows, 255.0)])
        self._sky = np.repeat(np.round(sky)[:, None].astype(np.uint8), columns, axis=1)
        mean, spread = style.building_height
        self._elevation = np.abs(rng.normal(mean, spread, _BLOCKS)) / 300.0
        far = np.exp(-260.0 / style.fog_m) * 0.9
        haze = style.sky_horizon * (1 - far) + style.walls.mean(axis=0) * 0.7 * far
        self._haze = (*np.round(haze).tolist(), 255.0)

    def canvas(self, ego_yaw_rad: float) -> UInt8Image:
        """A new canvas with sky and skyline.

        Args:
            ego_yaw_rad: Heading of the ego, global frame.

        Returns:
            (H, W, 4) picture; the fourth channel is 255.
        """
        canvas = self._sky.copy()
        step = 2 * np.pi / _BLOCKS
        yaw = self._yaw + ego_yaw_rad
        # Blocks from left to right: falling azimuth.
        blocks = np.arange(
            np.floor((yaw + self._half_view) / step), (yaw - self._half_view) / step - 1, -1
        )
        left = np.tan(yaw - (blocks + 1) * step)
        right = np.tan(yaw - blocks * step)
        rise = self._elevation[blocks.astype(int) % _BLOCKS] / np.cos(yaw - (blocks + 0.5) * step)
        tops = np.stack([left, -rise, right, -rise], axis=1).reshape(-1, 2)
        base = [(tops[-1, 0], 0.02), (tops[0, 0], 0.02)]
        points = np.concatenate([tops, base]) * self._intrinsics[0, 0] + self._intrinsics[:2, 2]
        cv2.fillPoly(canvas, [fixed_point(points - 0.5)], self._haze, cv2.LINE_8, SHIFT)
        return canvas
