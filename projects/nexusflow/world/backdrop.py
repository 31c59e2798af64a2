# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What lies behind everything: the sky, and a hazy skyline fixed to the compass."""

from __future__ import annotations

import cv2
import numpy as np

from nexusflow.world.camera import Camera
from nexusflow.world.drawing import UInt8Image
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
        (focal, _, center_u), (_, focal_v, center_v) = camera.cam2img[:2] * supersampling
        columns = np.arange(camera.width * supersampling) + 0.5 - center_u
        rise = center_v - 0.5 - np.arange(horizon_row)
        blend = np.clip(rise / focal_v / 0.6, 0.0, 1.0)[:, None] ** 0.7
        sky = style.sky_horizon * (1 - blend) + style.sky_top * blend
        sky = np.column_stack([sky, np.full(horizon_row, 255.0)])
        self._sky = np.repeat(np.round(sky)[:, None].astype(np.uint8), len(columns), axis=1)
        forward = camera.cam2ego[:3, 2]
        self._azimuth = np.arctan2(forward[1], forward[0]) - np.arctan(columns / focal)
        # Canvas rows of a roof that appears under an angle of tangent 1 above the horizon.
        self._rise_px = focal_v * np.hypot(1.0, columns / focal)
        self._horizon_row = center_v - 0.5
        mean, spread = style.building_height
        self._elevation = np.abs(rng.normal(mean, spread, _BLOCKS)) / 300.0
        far = np.exp(-260.0 / style.fog_m) * 0.9
        haze = style.sky_horizon * (1 - far) + style.walls.mean(axis=0) * 0.7 * far
        highest = self._horizon_row - self._rise_px.max() * self._elevation.max()
        # First canvas row that the skyline can reach.
        self._first_row = int(np.clip(highest, 0, horizon_row))
        self._rows = np.arange(self._first_row, horizon_row, dtype=np.int16)[:, None]
        self._haze = np.empty((len(self._rows), len(columns), 4), np.uint8)
        self._haze[:] = np.append(np.round(haze), 255.0)

    def draw(self, canvas: UInt8Image, ego_yaw_rad: float) -> None:
        """Draws sky and skyline onto the rows above the ground.

        Args:
            canvas: (H, W, 4) picture; the fourth channel becomes 255.
            ego_yaw_rad: Heading of the ego, global frame.
        """
        above = canvas[: len(self._sky)]
        above[:] = self._sky
        block = np.floor((self._azimuth + ego_yaw_rad) * (_BLOCKS / (2 * np.pi))).astype(np.int64)
        roof = self._horizon_row - self._rise_px * self._elevation[block % _BLOCKS]
        roof = np.maximum(roof, 0.0).astype(np.int16)
        if len(self._rows):
            wall = (self._rows > roof).view(np.uint8)
            cv2.copyTo(self._haze, wall, above[self._first_row :])
