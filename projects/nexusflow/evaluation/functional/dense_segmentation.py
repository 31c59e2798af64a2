# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Semantic segmentation: scores of one confusion matrix over all pixels of all images.

mIoU is the mean over the classes that occur in the labels; a class that does not occur has no IoU, and
pixels that are wrongly given to it count against the classes that they belong to. (Published code
divides 0 by 0 there; in NYUv2's 654 images all 13 classes occur, so the numbers are the same.) Results
from before November 2020 (MTAN) averaged the IoU of images and are not comparable.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ['confusion', 'segmentation_scores']


def confusion(
    predicted: NDArray[np.integer], label: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
    """Pixels by true and predicted class; pixels whose label is no class are left out.

    Args:
        predicted: Class indices of any shape.
        label: Of the same shape; indices outside of [0, num_classes) are ignored.
        num_classes: Number of classes K.

    Returns:
        (K, K), true class by row, predicted by column.

    Raises:
        ValueError: The shapes differ, or a class is predicted that does not exist.
    """
    if predicted.shape != label.shape:
        raise ValueError(f'predicted classes {predicted.shape} and labels {label.shape} differ')
    known = (label >= 0) & (label < num_classes)
    found, true = predicted[known].astype(np.int64), label[known].astype(np.int64)
    if found.size and not 0 <= found.min() <= found.max() < num_classes:
        raise ValueError(
            f'predicted classes reach from {found.min()} to {found.max()}, there are {num_classes}'
        )
    counts = np.bincount(true * num_classes + found, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def segmentation_scores(matrices: Sequence[NDArray[np.int64]]) -> dict[str, float]:
    """``mIoU`` and ``pixel_accuracy`` in [0, 1] of the sum of confusion matrices.

    They are NaN without any labelled pixel.

    Example:
        >>> segmentation_scores([np.array([[3, 1], [0, 0]])])
        {'mIoU': 0.75, 'pixel_accuracy': 0.75}
    """
    matrix = np.sum(matrices, axis=0) if len(matrices) else np.zeros((0, 0), np.int64)
    right, true = np.diag(matrix), matrix.sum(axis=1)
    union = true + matrix.sum(axis=0) - right
    occurs = true > 0
    if not occurs.any():
        return {'mIoU': float('nan'), 'pixel_accuracy': float('nan')}
    return {
        'mIoU': float((right[occurs] / union[occurs]).mean()),
        'pixel_accuracy': float(right.sum() / true.sum()),
    }
