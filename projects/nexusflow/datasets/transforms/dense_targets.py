# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Labels on an image's own pixels: which there are, and between arrays and tensors.

Results of a dense data set hold ``img`` (H, W, 3) float32 RGB in [0, 1] and one array a task:
``gt_sem_seg`` (H, W) class indices, -1 is ignored; ``gt_depth`` (H, W) metres, 0 is not valid;
``gt_normal`` (H, W, 3) unit vectors in the camera frame, the zero vector is not valid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ['TARGET_KINDS', 'present', 'to_array', 'to_channels']

TARGET_KINDS = {'gt_sem_seg': 'classes', 'gt_depth': 'depth', 'gt_normal': 'normals'}
"""Field to what its channels are, see :data:`nexusflow.supervision.view.KINDS`."""


def present(
    results: Mapping[str, Any], kinds: Mapping[str, str]
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Field, kind and array of the labels that the results have."""
    for field, kind in kinds.items():
        if field in results:
            yield field, kind, results[field]


def to_channels(array: np.ndarray) -> Tensor:
    """(H, W) or (H, W, C) -> tensor (C, H, W)."""
    array = array[..., None] if array.ndim == 2 else array
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def to_array(tensor: Tensor, like: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (H, W, C), or (H, W) if ``like`` has two axes."""
    array = tensor.numpy()
    return array[0] if like.ndim == 2 else np.ascontiguousarray(array.transpose(1, 2, 0))
