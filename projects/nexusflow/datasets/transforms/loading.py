# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Read the camera images of a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from nexusflow.datasets.transforms.pixels import apply_to_cameras, scale_pixels

_READ_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
}
_END_MARKS = {b'\xff\xd8': b'\xff\xd9', b'\x89P': b'IEND'}
_TAIL = 4096


@TRANSFORMS.register_module()
class NexusLoadMultiViewImages(BaseTransform):
    """Adds ``imgs`` (list of N (H, W, 3) uint8 RGB) and ``lidar2img`` (N, 4, 4) to each frame.

    Args:
        reduce: Decode JPEGs at 1, 1/2 or 1/4 of their size; 1/2 takes about half of the time and is
            right for 1600x900 images that end as 704x256.

    Raises:
        FileNotFoundError: An image is missing.
        ValueError: An image is truncated or no image.
    """

    def __init__(self, reduce: int = 1) -> None:
        if reduce not in _READ_FLAGS:
            raise ValueError(f'reduce is {reduce}, it must be one of {sorted(_READ_FLAGS)}')
        self.reduce = reduce
        cv2.setNumThreads(0)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load all frames of ``results['frames']``."""
        pixel_map = scale_pixels(1 / self.reduce, 1 / self.reduce)
        for frame in results['frames']:
            frame['imgs'] = [read_image(Path(p), self.reduce) for p in frame['img_paths']]
            frame['lidar2img'] = apply_to_cameras(pixel_map, frame['ori_lidar2img'])
        return results


def read_image(path: Path, reduce: int = 1) -> np.ndarray:
    """Read one JPEG or PNG.

    Args:
        path: The file.
        reduce: Decode at 1/reduce of the size.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: The file is truncated or no image. OpenCV alone would give a half grey picture.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f'image {path} is missing: check data_root, or unpack the images again'
        ) from None
    end = _END_MARKS.get(data[:2])
    whole = len(data) > 0 and (end is None or end in data[-_TAIL:])
    image = cv2.imdecode(np.frombuffer(data, np.uint8), _READ_FLAGS[reduce]) if whole else None
    if image is None:
        raise ValueError(
            f'image {path} is truncated or no image ({len(data)} bytes): copy or render it again'
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
