# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Colour jitter of an image with values in [0, 1]."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from nexusflow.datasets.transforms.colour import colour_matrix
from nexusflow.datasets.transforms.pixels import worker_rng


@TRANSFORMS.register_module()
class NexusDenseColour(BaseTransform):
    """Photometric augmentation; labels stay.

    It stands in for the photometric RandAugment of JTR's recipe with one affine map of the colours.

    Args:
        **limits: See :func:`nexusflow.datasets.transforms.colour.colour_matrix`; brightness in grey
            levels of 255.
    """

    def __init__(self, **limits: float) -> None:
        self.limits = limits

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Jitter ``img``."""
        matrix = colour_matrix(worker_rng(), **self.limits)
        matrix[:, 3] /= 255
        coloured = cv2.transform(results['img'], matrix.astype(np.float32))
        results['img'] = np.clip(coloured, 0, 1)
        return results
