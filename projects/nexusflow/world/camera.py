# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The cameras of the world: six, placed and turned as on the nuScenes vehicle.

Pixels: ``u`` runs right in [0, width], ``v`` down in [0, height]; the pixel in column ``j`` covers
[j, j + 1), so that resizing an image multiplies ``cam2img`` and needs no half-pixel shift.
Camera axes (OpenCV): x right, y down, z forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np

from nexusflow.geometry.frames import invert_rigid
from nexusflow.world.scene import NDArrayFloat

#: LIDAR_TOP to ego: lidar x = right, y = forward, z = up; metres.
LIDAR2EGO: Final[NDArrayFloat] = np.array(
    [[0.0, 1.0, 0.0, 0.94], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.84], [0.0, 0.0, 0.0, 1.0]]
)

#: Size for which the focal lengths and principal points below hold, pixels.
REFERENCE_SIZE_WH: Final = (1600, 900)
_PRINCIPAL_POINT_PX: Final = (816.0, 491.0)
#: Channel, yaw in the ego frame (degrees), position in the ego frame (metres), focal length (pixels).
_MOUNTS: Final = (
    ('CAM_FRONT', 0.0, (1.70, 0.0, 1.51), 1266.0),
    ('CAM_FRONT_RIGHT', -55.0, (1.55, -0.49, 1.50), 1266.0),
    ('CAM_FRONT_LEFT', 55.0, (1.52, 0.49, 1.51), 1266.0),
    ('CAM_BACK', 180.0, (0.03, 0.0, 1.58), 809.0),
    ('CAM_BACK_LEFT', 110.0, (1.04, 0.48, 1.59), 1266.0),
    ('CAM_BACK_RIGHT', -110.0, (1.01, -0.48, 1.56), 1266.0),
)
CHANNELS: Final[tuple[str, ...]] = tuple(mount[0] for mount in _MOUNTS)


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera fixed to the ego vehicle.

    A camera equals itself only, so that what is derived from it can be kept (``lru_cache``).

    Attributes:
        channel: nuScenes channel name, e.g. ``'CAM_FRONT'``.
        cam2img: (3, 3) intrinsics, pixels.
        cam2ego: (4, 4) camera frame to ego frame, metres.
        width: Pixels.
        height: Pixels.
    """

    channel: str
    cam2img: NDArrayFloat
    cam2ego: NDArrayFloat
    width: int
    height: int

    @cached_property
    def ego2cam(self) -> NDArrayFloat:
        """(4, 4) ego frame to camera frame."""
        return invert_rigid(self.cam2ego)


CameraRig = tuple[Camera, ...]


@lru_cache(maxsize=4)
def nuscenes_like_rig(image_size_wh: tuple[int, int]) -> CameraRig:
    """The six cameras, for images of one size.

    The 1600 x 900 images are scaled to the wanted width; then the top (sky) is cropped, or
    extended, to the wanted height.

    Args:
        image_size_wh: Width and height, pixels.

    Returns:
        Cameras in the order of ``CHANNELS``.

    Raises:
        ValueError: If a side is not positive.
    """
    width, height = image_size_wh
    if width <= 0 or height <= 0:
        raise ValueError(
            f'image_size_wh: both sides must be positive, got {image_size_wh}; use e.g. (320, 180)'
        )
    scale = width / REFERENCE_SIZE_WH[0]
    center_u = _PRINCIPAL_POINT_PX[0] * scale
    center_v = height - (REFERENCE_SIZE_WH[1] - _PRINCIPAL_POINT_PX[1]) * scale
    cameras = []
    for channel, yaw_deg, position, focal in _MOUNTS:
        cam2img = np.array(
            [[focal * scale, 0.0, center_u], [0.0, focal * scale, center_v], [0.0, 0.0, 1.0]]
        )
        cam2ego = _level_camera_pose(np.deg2rad(yaw_deg), position)
        cameras.append(Camera(channel, cam2img, cam2ego, width, height))
    return tuple(cameras)


def project(points_ego: NDArrayFloat, camera: Camera) -> tuple[NDArrayFloat, NDArrayFloat]:
    """Projects points into a camera.

    Args:
        points_ego: (..., 3) points, ego frame, metres.
        camera: The camera.

    Returns:
        uv: (..., 2) pixels; without meaning where the depth is not positive.
        depth: (...) distance along the optical axis, metres.
    """
    points_cam = points_ego @ camera.ego2cam[:3, :3].T + camera.ego2cam[:3, 3]
    depth = points_cam[..., 2]
    homogeneous = points_cam @ camera.cam2img.T
    safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
    return homogeneous[..., :2] / safe[..., None], depth


def _level_camera_pose(yaw_rad: float, position: tuple[float, float, float]) -> NDArrayFloat:
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    pose = np.eye(4)
    pose[:3, 0] = sin, -cos, 0.0  # right
    pose[:3, 1] = 0.0, 0.0, -1.0  # down
    pose[:3, 2] = cos, sin, 0.0  # forward
    pose[:3, 3] = position
    return pose
