# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Bring images to the model's size, with augmentation, and keep the projections exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from nexusflow.datasets.transforms.colour import colour_matrix
from nexusflow.datasets.transforms.pixels import (
    apply_to_cameras,
    scale_pixels,
    to_opencv,
    worker_rng,
)


@TRANSFORMS.register_module()
class NexusImageAug(BaseTransform):
    """Resize, crop, optional mirror and colour jitter; updates ``imgs`` and ``lidar2img``.

    Scale 1 makes the image just cover the final size. What is too much is cropped, what is missing
    is black. Geometry is drawn once per clip and camera, colour once per clip.

    Args:
        size_hw: Final height and width, pixels.
        scale_range: Factor on the covering scale, drawn uniformly.
        crop_top_range: Share of the surplus height that is cut from the top; 1 keeps the bottom,
            where the road is.
        crop_left_range: Share of the surplus width that is cut from the left.
        flip_prob: Probability to mirror a camera's image.
        colour: Limits of the jitter: ``brightness`` (grey levels), ``contrast``, ``saturation``
            (shares), ``hue_deg``; None: no jitter.
        deterministic: Take the middle of each range, no mirror, no jitter (test).
    """

    def __init__(
        self,
        size_hw: tuple[int, int],
        scale_range: tuple[float, float] = (1.0, 1.0),
        crop_top_range: tuple[float, float] = (1.0, 1.0),
        crop_left_range: tuple[float, float] = (0.5, 0.5),
        flip_prob: float = 0.0,
        colour: Mapping[str, float] | None = None,
        deterministic: bool = False,
    ) -> None:
        self.size_hw = (int(size_hw[0]), int(size_hw[1]))
        self.ranges = np.array([scale_range, crop_top_range, crop_left_range], dtype=np.float64)
        self.flip_prob = flip_prob
        self.colour = dict(colour or {})
        self.deterministic = deterministic

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Augment all frames of ``results['frames']`` alike."""
        frames = results['frames']
        rng = None if self.deterministic else worker_rng()
        num_cameras = len(frames[0]['imgs'])
        draws = [self._draw(rng) for _ in range(num_cameras)]
        jitter = colour_matrix(rng, **self.colour) if rng is not None and self.colour else None
        for frame in frames:
            maps = [
                self._pixel_map(img.shape[:2], *d)
                for img, d in zip(frame['imgs'], draws, strict=True)
            ]
            images = np.stack(
                [warp(img, m, self.size_hw) for img, m in zip(frame['imgs'], maps, strict=True)]
            )
            if jitter is not None:
                flat = images.reshape(-1, self.size_hw[1], 3)
                images = cv2.transform(flat, jitter).reshape(images.shape)
            frame['imgs'] = images
            frame['lidar2img'] = apply_to_cameras(np.stack(maps), frame['lidar2img'])
        return results

    def _draw(self, rng: np.random.Generator | None) -> tuple[np.ndarray, bool]:
        """Scale, crop shares and mirror of one camera."""
        if rng is None:
            return self.ranges.mean(axis=1), False
        return rng.uniform(self.ranges[:, 0], self.ranges[:, 1]), bool(
            rng.random() < self.flip_prob
        )

    def _pixel_map(self, shape_hw: Sequence[int], draw: np.ndarray, flip: bool) -> np.ndarray:
        """(3, 3) map from pixels of an image to pixels of the result."""
        (h, w), (new_h, new_w) = shape_hw, self.size_hw
        scale = max(new_w / w, new_h / h) * draw[0]
        top = round((scale * h - new_h) * draw[1])
        left = round((scale * w - new_w) * draw[2])
        out = scale_pixels(scale, scale)
        out[:2, 2] -= (left, top)
        if flip:
            out = np.array([[-1.0, 0, new_w], [0, 1, 0], [0, 0, 1]]) @ out
        return out


def warp(image: np.ndarray, pixel_map: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resample an image by an affine pixel map.

    Args:
        image: (H, W, 3) uint8.
        pixel_map: (3, 3) from pixels of ``image`` to pixels of the result.
        size_hw: Size of the result.

    Returns:
        (h, w, 3) uint8; black outside of the image.
    """
    if image.shape[:2] == size_hw and np.array_equal(pixel_map, np.eye(3)):
        return image
    shrink = int(1 / abs(pixel_map[1, 1]) + 1e-6)
    if shrink > 1:
        h, w = image.shape[:2]
        small = cv2.resize(image, (w // shrink, h // shrink), interpolation=cv2.INTER_AREA)
        undo = np.linalg.inv(scale_pixels(small.shape[1] / w, small.shape[0] / h))
        image, pixel_map = small, pixel_map @ undo
    return cv2.warpAffine(image, to_opencv(pixel_map)[:2], size_hw[::-1], flags=cv2.INTER_LINEAR)
