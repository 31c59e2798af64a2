# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The ground as a camera sees it: the pictures from above warped by the homography of the plane z = 0.

The rig is fixed to the ego and the world is flat, so which rows show ground, at which distance, and at which level of
detail is found once per camera; per frame only a 3 x 3 matrix changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from nexusflow.world.camera import Camera
from nexusflow.world.drawing import UInt8Image, Window
from nexusflow.world.scene import NDArrayFloat

#: Ground farther than this is drawn as haze, metres.
FAR_GROUND_M = 320.0
#: Larger values pick finer levels (sharper far lines, more shimmer).
_SHARPNESS = 1.3
#: Rows with less fog are left alone.
_LEAST_FOG = 0.06


@dataclass(frozen=True)
class GroundLevel:
    """One level of detail.

    Attributes:
        picture: (H, W, 4) from above, row 0 at the lowest y; the fourth channel is 255.
        window: The ground it shows.
        reach_m: It shows all ground within this distance of the ego.
    """

    picture: UInt8Image
    window: Window
    reach_m: float


@dataclass(frozen=True)
class _Band:
    """Rows of an image that share a level of detail."""

    first: int
    last: int
    level: int


class GroundView:
    """Draws the ground into the images of one camera.

    Args:
        camera: The camera.
        supersampling: Canvas pixels per image pixel and side.
        levels: Levels of detail, fine to coarse.
        fog_m: Distance over which contrast falls to 1/e.
        fog_color: (3,) BGR.
    """

    def __init__(
        self,
        camera: Camera,
        supersampling: int,
        levels: Sequence[GroundLevel],
        fog_m: float,
        fog_color: NDArrayFloat,
    ) -> None:
        self._camera = camera
        self._levels = levels
        self._pixel_to_image = _canvas_to_image(supersampling)
        rows = camera.height * supersampling
        forward_m, far_m = _row_distances(camera, supersampling)
        visible = np.flatnonzero(far_m < FAR_GROUND_M)
        self.first_row = int(visible[0]) if len(visible) else rows
        focal = camera.cam2img[0, 0] * supersampling
        self._bands = _split_rows(
            forward_m, far_m, self.first_row, focal, camera.cam2ego[2, 3], levels
        )
        fog = 1.0 - np.exp(-forward_m[self.first_row :] / fog_m)
        # blendLinear wants a weight for each pixel of both pictures.
        weight = np.repeat(fog[fog > _LEAST_FOG, None], camera.width * supersampling, axis=1)
        self._fog_weight = weight.astype(np.float32)
        self._clear_weight = (1.0 - weight).astype(np.float32)
        self._fog = np.empty((*weight.shape, 4), np.uint8)
        self._fog[:] = np.append(np.round(fog_color), 255.0)

    def draw(self, canvas: UInt8Image, ego2global: NDArrayFloat) -> None:
        """Draws the ground.

        Args:
            canvas: (H, W, 4) picture to draw into; the fourth channel becomes 255.
            ego2global: (3, 3) planar pose of the ego, metres.
        """
        ground_to_image = self._camera.cam2img @ self._camera.ego2cam[:3, [0, 1, 3]]
        canvas_to_global = ego2global @ np.linalg.inv(ground_to_image) @ self._pixel_to_image
        for band in self._bands:
            level = self._levels[band.level]
            matrix = _global_to_picture(level.window) @ canvas_to_global @ _shift_rows(band.first)
            target = canvas[band.first : band.last]
            # Written in place: the rows of the canvas are contiguous.
            cv2.warpPerspective(
                level.picture,
                matrix,
                (canvas.shape[1], band.last - band.first),
                dst=target,
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
        if len(self._fog):
            rows = canvas[self.first_row : self.first_row + len(self._fog)]
            rows[:] = cv2.blendLinear(rows, self._fog, self._clear_weight, self._fog_weight)


def _canvas_to_image(supersampling: int) -> NDArrayFloat:
    """Canvas index (integer at pixel centres) to image pixels (integer at pixel borders)."""
    s = 1.0 / supersampling
    return np.array([[s, 0.0, s / 2], [0.0, s, s / 2], [0.0, 0.0, 1.0]])


def _global_to_picture(window: Window) -> NDArrayFloat:
    s = 1.0 / window.resolution_m
    return np.array(
        [[s, 0.0, -window.x_m * s - 0.5], [0.0, s, -window.y_m * s - 0.5], [0.0, 0.0, 1.0]]
    )


def _shift_rows(first: int) -> NDArrayFloat:
    return np.array([[1.0, 0.0, 0.0], [0.0, 1.0, first], [0.0, 0.0, 1.0]])


def _row_distances(camera: Camera, supersampling: int) -> tuple[NDArrayFloat, NDArrayFloat]:
    """Depth of the ground along the optical axis, and its largest distance, for each canvas row.

    Both are infinite for rows that do not show ground across their whole width.
    """
    rows = (np.arange(camera.height * supersampling) + 0.5) / supersampling
    columns = np.array([0.0, camera.width / 2, camera.width])
    v, u = np.meshgrid(rows, columns, indexing='ij')
    rays_cam = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(camera.cam2img).T
    down = -(rays_cam @ camera.cam2ego[2, :3])
    depth = np.where(down > 1e-6, camera.cam2ego[2, 3] / np.maximum(down, 1e-6), np.inf)
    far = np.where(np.isfinite(depth), depth, 0.0) * np.linalg.norm(rays_cam, axis=-1)
    far = np.where(np.isfinite(depth), far, np.inf)
    return depth.max(axis=1), far.max(axis=1)


def _split_rows(
    forward_m: NDArrayFloat,
    far_m: NDArrayFloat,
    first_row: int,
    focal_px: float,
    height_m: float,
    levels: Sequence[GroundLevel],
) -> list[_Band]:
    """Level of detail by the geometric mean of a pixel's width and length on the ground."""
    choice = np.zeros(len(forward_m), dtype=int)
    for row in range(first_row, len(forward_m)):
        footprint = forward_m[row] ** 1.5 / focal_px / np.sqrt(height_m)
        for index, level in enumerate(levels):
            fits = level.window.resolution_m <= footprint / _SHARPNESS * 1.4142
            if index and fits and far_m[row] > 0:
                choice[row] = index
        while far_m[row] > levels[choice[row]].reach_m and choice[row] + 1 < len(levels):
            choice[row] += 1
    cuts = [first_row, *(np.flatnonzero(np.diff(choice[first_row:])) + first_row + 1)]
    cuts.append(len(forward_m))
    return [_Band(int(a), int(b), int(choice[a])) for a, b in pairwise(cuts) if b > a]
