# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The camera: a pinhole at a person's height, with the field of view of a Kinect.

Camera frame: x right, y down, z forward. Pixel (0, 0) is the centre of the upper left pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nexusflow.world.indoor.solids import Floats

#: Focal length over image width; the Kinect's colour camera has about 519 / 640.
FOCAL = 0.81


def intrinsics(image_size_wh: tuple[int, int]) -> Floats:
    """(3, 3) matrix of every image of a size; square pixels, principal point in the middle."""
    width, height = image_size_wh
    focal = FOCAL * width
    return np.array(
        [[focal, 0.0, (width - 1) / 2.0], [0.0, focal, (height - 1) / 2.0], [0.0, 0.0, 1.0]]
    )


@dataclass(frozen=True)
class Camera:
    """A camera in a room.

    Attributes:
        position: Room frame, metres.
        yaw: Direction of view about z from the x axis, radians.
        pitch: Upward tilt, radians.
        roll: Turn about the direction of view, radians.
        image_size_wh: Width and height, pixels.
    """

    position: tuple[float, float, float]
    yaw: float
    pitch: float
    roll: float
    image_size_wh: tuple[int, int]

    def rotation(self) -> Floats:
        """(3, 3) matrix that turns camera directions into room directions."""
        cy, sy = math.cos(self.yaw), math.sin(self.yaw)
        cp, sp = math.cos(self.pitch), math.sin(self.pitch)
        forward = np.array([cy * cp, sy * cp, sp])
        right = np.array([sy, -cy, 0.0])
        down = np.cross(forward, right)
        c, s = math.cos(self.roll), math.sin(self.roll)
        return np.stack([c * right + s * down, c * down - s * right, forward], axis=1)

    def rays(self) -> Floats:
        """(3, H, W) float32 directions in the room frame; their length along the optical axis is 1."""
        width, height = self.image_size_wh
        inverse = np.linalg.inv(intrinsics(self.image_size_wh))
        columns, rows = np.meshgrid(np.arange(width), np.arange(height))
        pixels = np.stack([columns, rows, np.ones_like(rows)]).reshape(3, -1)
        rays = (self.rotation() @ inverse @ pixels).reshape(3, height, width)
        return np.asarray(rays, np.float32)

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Projects points.

        Args:
            points: (N, 3) room frame, metres.

        Returns:
            (N, 2) pixels and (N,) depth, metres; pixels of points behind the camera mean nothing.
        """
        in_camera = (points - np.asarray(self.position)) @ self.rotation()
        depth = in_camera[:, 2]
        image = in_camera @ intrinsics(self.image_size_wh).T
        return image[:, :2] / np.where(np.abs(depth) < 1e-9, 1e-9, depth)[:, None], depth
