# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Binary masks, such as edges: overlap over all valid pixels of all images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ['mask_counts', 'mask_scores']


def mask_counts(
    predicted: NDArray[np.floating], label: NDArray[np.floating], threshold: float = 0.5
) -> NDArray[np.int64]:
    """Pixels above the threshold.

    Args:
        predicted: Probabilities, any shape.
        label: In [0, 1], of the same shape; negative: not valid.
        threshold: From where on both are inside of the mask.

    Returns:
        (3,): inside of both, of the prediction, of the label.

    Raises:
        ValueError: The shapes differ.
    """
    if predicted.shape != label.shape:
        raise ValueError(f'predicted masks {predicted.shape} and labels {label.shape} differ')
    true = label >= threshold
    found = (predicted >= threshold) & (label >= 0)
    return np.array([(true & found).sum(), found.sum(), true.sum()])


def mask_scores(counts: Sequence[NDArray[np.int64]]) -> dict[str, float]:
    """``IoU`` and ``F1``; NaN where both sides are empty.

    Example:
        >>> mask_scores([mask_counts(np.array([0.9, 0.2, 0.8]), np.array([1.0, 0.0, 0.0]))])['IoU']
        0.5
    """
    both, found, true = np.sum([np.zeros(3, np.int64), *counts], axis=0).tolist()
    if not found + true:
        return {'IoU': float('nan'), 'F1': float('nan')}
    return {'IoU': both / (found + true - both), 'F1': 2 * both / (found + true)}
