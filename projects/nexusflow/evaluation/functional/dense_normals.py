# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Surface normals: angles over all valid pixels of all images, under their true names.

MTPSL and JTR print the root mean square of the angle in a column named "Med"; MTAN averages the
medians of batches. Here the median is that of all pixels, exactly: their angles are kept, 4 bytes a
pixel (290 MB for NYUv2's 654 images).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ['THRESHOLDS_DEG', 'angles_deg', 'normal_scores']

THRESHOLDS_DEG = (11.25, 22.5, 30.0)


def angles_deg(predicted: NDArray[np.floating], label: NDArray[np.floating]) -> NDArray[np.float32]:
    """Angles between predicted and true normals.

    Args:
        predicted: (3, ...) vectors; their length does not matter. 90 degrees where it is 0.
        label: (3, ...) of the same shape; a zero vector is not valid.

    Returns:
        (n,) degrees of the n valid pixels.

    Raises:
        ValueError: The shapes differ.
    """
    if predicted.shape != label.shape:
        raise ValueError(f'predicted normals {predicted.shape} and labels {label.shape} differ')
    valid = np.linalg.norm(label, axis=0) > 0
    found = predicted[:, valid].astype(np.float64)
    true = label[:, valid].astype(np.float64)
    product = np.linalg.norm(found, axis=0) * np.linalg.norm(true, axis=0)
    cosine = (found * true).sum(axis=0) / np.where(product > 0, product, 1.0)
    return np.rad2deg(np.arccos(cosine.clip(-1, 1))).astype(np.float32)


def normal_scores(angles: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    """Scores of the angles of all images.

    Args:
        angles: (n_i,) degrees of each image.

    Returns:
        ``mean_deg``, ``median_deg``, ``rmse_deg``, and ``within_11.25``, ``within_22.5``, ``within_30``:
        shares in [0, 1] of angles strictly below; NaN without any valid pixel.

    Example:
        >>> normal_scores([np.array([0.0, 22.5], np.float32)])['within_22.5']
        0.5
    """
    every = np.concatenate([np.zeros(0, np.float32), *angles])
    names = [f'within_{limit:g}' for limit in THRESHOLDS_DEG]
    if not every.size:
        return dict.fromkeys(('mean_deg', 'median_deg', 'rmse_deg', *names), float('nan'))
    return {
        'mean_deg': float(every.mean(dtype=np.float64)),
        'median_deg': float(np.median(every)),
        'rmse_deg': float(np.sqrt(np.square(every, dtype=np.float64).mean())),
        **{
            name: float((every < limit).mean())
            for name, limit in zip(names, THRESHOLDS_DEG, strict=True)
        },
    }
