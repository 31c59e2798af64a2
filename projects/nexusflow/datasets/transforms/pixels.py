# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Pixel transforms as 3x3 matrices, and random numbers for transforms.

Pixel i covers u from i to i + 1, as in mmdet3d, in the world's renderer and in grid_sample with
``align_corners=False``: scaling is a plain product. OpenCV has pixel centres at integers instead.
"""

from __future__ import annotations

import numpy as np
import torch


def scale_pixels(sx: float, sy: float) -> np.ndarray:
    """(3, 3) matrix of an image resize.

    Args:
        sx: New width over old width.
        sy: New height over old height.

    Returns:
        Matrix on (u, v, 1).
    """
    return np.diag([sx, sy, 1.0])


def to_opencv(pixel_map: np.ndarray) -> np.ndarray:
    """The same pixel map between coordinates with pixel centres at integers.

    Args:
        pixel_map: (3, 3) affine map of pixels.

    Returns:
        (3, 3) map for ``cv2.warpAffine``.
    """
    out = pixel_map.copy()
    out[:2, 2] += 0.5 * pixel_map[:2, :2].sum(axis=1) - 0.5
    return out


def apply_to_cameras(pixel_map: np.ndarray, lidar2img: np.ndarray) -> np.ndarray:
    """Projection into the transformed image.

    Args:
        pixel_map: (..., 3, 3) affine map of pixels.
        lidar2img: (..., 4, 4) projection into the image before.

    Returns:
        (..., 4, 4) projection into the image after.
    """
    out = lidar2img.copy()
    out[..., :3, :] = pixel_map @ lidar2img[..., :3, :]
    return out


def worker_rng() -> np.random.Generator:
    """A generator seeded from torch's global state.

    mmengine seeds that state for each worker and rank, so the same seed gives the same batches.
    """
    return np.random.default_rng(int(torch.randint(2**62, (1,))))
