# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Depth: errors over all valid pixels of all images, under their true names.

MTPSL and JTR print the RMSE in a column named "rel"; MTAN averages means of batches, which depend on
the batch size. Here sums are kept and divided once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ['depth_scores', 'depth_sums']


def depth_sums(
    predicted_m: NDArray[np.floating], label_m: NDArray[np.floating]
) -> NDArray[np.float64]:
    """What is summed over pixels.

    Args:
        predicted_m: Metres, any shape.
        label_m: Metres, of the same shape; only pixels above 0 are valid.

    Returns:
        (4,): number of valid pixels, sums of ``|p - g|``, ``|p - g| / g`` and ``(p - g)^2``.

    Raises:
        ValueError: The shapes differ.
    """
    if predicted_m.shape != label_m.shape:
        raise ValueError(f'predicted depth {predicted_m.shape} and labels {label_m.shape} differ')
    valid = label_m > 0
    label = label_m[valid].astype(np.float64)
    error = np.abs(predicted_m[valid].astype(np.float64) - label)
    return np.array([error.size, error.sum(), (error / label).sum(), (error**2).sum()])


def depth_scores(sums: Sequence[NDArray[np.float64]]) -> dict[str, float]:
    """``abs_err`` (metres), ``rel_err`` and ``rmse`` (metres); NaN without any valid pixel.

    Example:
        >>> depth_scores([depth_sums(np.array([2.0, 5.0]), np.array([1.0, 0.0]))])
        {'abs_err': 1.0, 'rel_err': 1.0, 'rmse': 1.0}
    """
    count, *totals = np.sum([np.zeros(4), *sums], axis=0).tolist()
    absolute, relative, squared = (t / count if count else float('nan') for t in totals)
    return {'abs_err': absolute, 'rel_err': relative, 'rmse': float(np.sqrt(squared))}
