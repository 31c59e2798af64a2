# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Scale-crop, mirror and resize of an image together with its dense labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from nexusflow.datasets.transforms.dense_targets import (
    TARGET_KINDS,
    present,
    to_array,
    to_channels,
)
from nexusflow.datasets.transforms.pixels import worker_rng
from nexusflow.supervision.scale_crop import (
    NORMAL_EPS,
    SCALES,
    crop_image,
    crop_target,
    draw_crops,
)


@TRANSFORMS.register_module()
class NexusDenseScaleCrop(BaseTransform):
    """Cut a window out and enlarge it to the old size; see :mod:`nexusflow.supervision.scale_crop`.

    Args:
        scales: Values of s; one is drawn for each image.
        kinds: Kinds of the label fields; by default NYUv2's.
    """

    def __init__(
        self, scales: Sequence[float] = SCALES, kinds: Mapping[str, str] | None = None
    ) -> None:
        self.scales, self.kinds = tuple(scales), dict(kinds or TARGET_KINDS)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop ``img`` and all labels alike."""
        image = results['img']
        crops = draw_crops(1, image.shape[:2], self.scales)
        results['img'] = to_array(crop_image(to_channels(image)[None], crops)[0], image)
        for field, kind, array in present(results, self.kinds):
            cropped = crop_target(kind, to_channels(array)[None], crops)
            results[field] = to_array(cropped[0], array)
        return results


@TRANSFORMS.register_module()
class NexusDenseFlip(BaseTransform):
    """Mirror left and right; normals get the opposite x. MTAN and LibMTL do it, MTPSL and JTR do not.

    Args:
        prob: Probability to mirror.
        kinds: Kinds of the label fields; by default NYUv2's.
    """

    def __init__(self, prob: float = 0.5, kinds: Mapping[str, str] | None = None) -> None:
        self.prob, self.kinds = prob, dict(kinds or TARGET_KINDS)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Mirror ``img`` and all labels, or none of them."""
        if worker_rng().random() >= self.prob:
            return results
        results['img'] = np.ascontiguousarray(results['img'][:, ::-1])
        for field, kind, array in present(results, self.kinds):
            mirrored = np.ascontiguousarray(array[:, ::-1])
            if kind == 'normals':
                mirrored[..., 0] *= -1
            results[field] = mirrored
        return results


@TRANSFORMS.register_module()
class NexusDenseResize(BaseTransform):
    """Resize: the image by area, normals too but with unit length, labels and depth to the nearest pixel.

    Args:
        size_hw: New height and width, pixels.
        kinds: Kinds of the label fields; by default NYUv2's.
    """

    def __init__(self, size_hw: tuple[int, int], kinds: Mapping[str, str] | None = None) -> None:
        self.size_hw = (int(size_hw[0]), int(size_hw[1]))
        self.kinds = dict(kinds or TARGET_KINDS)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize ``img`` and all labels."""
        shape = results['img'].shape[:2]
        if shape == self.size_hw:
            return results
        results['img'] = self._smooth(results['img'])
        for field, kind, array in present(results, self.kinds):
            if kind == 'normals':
                smooth = self._smooth(array)
                length = np.linalg.norm(smooth, axis=-1, keepdims=True)
                results[field] = smooth / np.maximum(length, NORMAL_EPS)
            else:
                results[field] = array[self._nearest(shape)]
        return results

    def _smooth(self, array: np.ndarray) -> np.ndarray:
        """Means of areas where the image shrinks, linear interpolation where it grows."""
        shrinks = self.size_hw[0] < array.shape[0]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(array, self.size_hw[::-1], interpolation=how)

    def _nearest(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the pixels that lie in the middle of the new ones."""
        rows, columns = (
            ((np.arange(new) + 0.5) * old / new).astype(np.int64)
            for new, old in zip(self.size_hw, shape, strict=True)
        )
        return np.ix_(rows, columns)
