# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The ground as a camera sees it: the pictures from above warped by the homography of the plane z = 0.

The rig is fixed to the ego and the world is flat: where on the ground a pixel looks, in the ego frame, is found once
per camera; per frame the ego's pose moves these places into the pictures. A pixel is much longer than wide on the
ground, and the level of detail lies between the two: supersampling is for rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from nexusflow.world.camera import Camera
from nexusflow.world.drawing import UInt8Image, Window
from nexusflow.world.scene import NDArrayFloat

#: Ground farther than this is drawn as haze, metres.
FAR_GROUND_M = 320.0
#: Larger values pick finer levels (sharper far lines, more shimmer).
_SHARPNESS = 1.3
#: Rows with less fog are left alone.
_LEAST_FOG = 0.06
#: Second map of ``cv2.remap`` when the first one has both coordinates.
_NO_MAP = np.empty(0, np.float32)


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
    """Rows of a canvas that share a level of detail."""

    first: int
    last: int
    level: int


@dataclass(frozen=True)
class _Sight:
    """Where on the ground the pixels of a canvas look.

    Attributes:
        first_row: First row that shows ground across its whole width.
        ground_m: (rows from there on, image columns, 2) places, ego frame.
        forward_m: (rows from there on,) depth of the ground along the optical axis.
        far_m: (rows from there on,) its largest distance.
    """

    first_row: int
    ground_m: NDArray[np.float32]
    forward_m: NDArrayFloat
    far_m: NDArrayFloat


class GroundView:
    """Draws the ground onto the canvases of one camera.

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
        self._levels = levels
        self._sight = sight = _sight(camera, supersampling)
        self.first_row = sight.first_row
        focal = camera.cam2img[0, 0] * supersampling
        self._bands = _split_rows(sight, focal, camera.cam2ego[2, 3], levels)
        fog = 1.0 - np.exp(-sight.forward_m / fog_m)
        fog = fog[fog > _LEAST_FOG][:, None, None]
        # The fourth channel is kept: all of it, and nothing added.
        clear = np.concatenate([np.repeat(1.0 - fog, 3, axis=2), np.ones_like(fog)], axis=2)
        haze = np.concatenate([fog * fog_color, np.zeros_like(fog)], axis=2)
        self._clear, self._haze = (
            np.repeat(np.round(part).astype(np.uint8), camera.width, axis=1)
            for part in (255.0 * clear, haze)
        )
        self._ground = np.empty((*sight.ground_m.shape[:2], 4), np.uint8)

    def draw(self, canvas: UInt8Image, ego2global: NDArrayFloat) -> None:
        """Draws the ground.

        Args:
            canvas: (H, W, 4) picture to draw into; the fourth channel becomes 255.
            ego2global: (3, 3) planar pose of the ego, metres.
        """
        if not len(self._ground):
            return
        for band in self._bands:
            level = self._levels[band.level]
            matrix = (_global_to_picture(level.window) @ ego2global)[:2]
            places = cv2.transform(self._sight.ground_m[band.first : band.last], matrix)
            cv2.remap(
                level.picture,
                places,
                _NO_MAP,
                cv2.INTER_LINEAR,
                dst=self._ground[band.first : band.last],
                borderMode=cv2.BORDER_REPLICATE,
            )
        rows = self._ground[: len(self._haze)]
        if len(rows):
            cv2.multiply(rows, self._clear, dst=rows, scale=1 / 255)
            cv2.add(rows, self._haze, dst=rows)
        below = canvas[self.first_row :]
        size = below.shape[1], below.shape[0]
        cv2.resize(self._ground, size, dst=below, interpolation=cv2.INTER_NEAREST_EXACT)


def _global_to_picture(window: Window) -> NDArrayFloat:
    s = 1.0 / window.resolution_m
    return np.array(
        [[s, 0.0, -window.x_m * s - 0.5], [0.0, s, -window.y_m * s - 0.5], [0.0, 0.0, 1.0]]
    )


@lru_cache(maxsize=12)
def _sight(camera: Camera, supersampling: int) -> _Sight:
    """Where a camera's pixels look; the same in every scene."""
    columns = np.arange(camera.width) + 0.5
    rows = (np.arange(camera.height * supersampling) + 0.5) / supersampling
    forward, far = _row_distances(camera, rows)
    visible = np.flatnonzero(far < FAR_GROUND_M)
    first = int(visible[0]) if len(visible) else len(rows)
    v, u = np.meshgrid(rows[first:], columns, indexing='ij')
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    ground_to_image = camera.cam2img @ camera.ego2cam[:3, [0, 1, 3]]
    ground = pixels @ np.linalg.inv(ground_to_image).T
    ground = (ground[..., :2] / ground[..., 2:]).astype(np.float32)
    return _Sight(first, ground, forward[first:], far[first:])


def _row_distances(camera: Camera, rows: NDArrayFloat) -> tuple[NDArrayFloat, NDArrayFloat]:
    """Depth of the ground along the optical axis, and its largest distance, for each canvas row.

    Both are infinite for rows that do not show ground across their whole width.
    """
    columns = np.array([0.0, camera.width / 2, camera.width])
    v, u = np.meshgrid(rows, columns, indexing='ij')
    rays_cam = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(camera.cam2img).T
    down = -(rays_cam @ camera.cam2ego[2, :3])
    depth = np.where(down > 1e-6, camera.cam2ego[2, 3] / np.maximum(down, 1e-6), np.inf)
    far = np.where(np.isfinite(depth), depth, 0.0) * np.linalg.norm(rays_cam, axis=-1)
    far = np.where(np.isfinite(depth), far, np.inf)
    return depth.max(axis=1), far.max(axis=1)


def _split_rows(
    sight: _Sight, focal_px: float, height_m: float, levels: Sequence[GroundLevel]
) -> list[_Band]:
    """Level of detail by the geometric mean of a pixel's width and length on the ground."""
    footprint = sight.forward_m**1.5 / focal_px / np.sqrt(height_m)
    choice = np.zeros(len(footprint), dtype=np.int64)
    for index, level in enumerate(levels):
        fits = level.window.resolution_m <= footprint / _SHARPNESS * 1.4142
        too_far = sight.far_m > levels[max(index - 1, 0)].reach_m
        choice[fits | (too_far & (choice == index - 1))] = index
    cuts = [0, *(np.flatnonzero(np.diff(choice)) + 1).tolist(), len(choice)]
    return [_Band(a, b, int(choice[a])) for a, b in pairwise(cuts) if b > a]
