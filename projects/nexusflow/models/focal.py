# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Binary losses without reduction over the batch, so that unlabelled samples can be masked."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sigmoid_focal(
    logits: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0
) -> Tensor:
    """Focal loss (Lin et al., 2017) of each element; mmdet's FocalLoss takes class indices and reduces.

    Args:
        logits: Any shape.
        target: Same shape, 0 or 1.
        alpha: Weight of the positives; negatives weigh 1 - alpha.
        gamma: Focusing exponent.

    Returns:
        Same shape.
    """
    prob = logits.sigmoid()
    wrong = prob * (1 - target) + (1 - prob) * target
    balance = alpha * target + (1 - alpha) * (1 - target)
    raw = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
    return balance * wrong**gamma * raw


def focal_cost(logits: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """What a match adds to the focal loss: of a positive, less that of a negative (Deformable DETR, Zhu et al., 2021).

    Args:
        logits: Any shape.
        alpha: See :func:`sigmoid_focal`.
        gamma: See :func:`sigmoid_focal`.

    Returns:
        Same shape.
    """
    ones = torch.ones_like(logits)
    return sigmoid_focal(logits, ones, alpha, gamma) - sigmoid_focal(logits, 1 - ones, alpha, gamma)


def segmentation_bce(logits: Tensor, target: Tensor, pos_weight: float = 4.0) -> Tensor:
    """Mean binary cross-entropy of each sample, positives weighted up (MapTRv2's weight by default).

    Args:
        logits: (B, L, H, W).
        target: (B, L, H, W), 0 or 1.
        pos_weight: Weight of the positive cells.

    Returns:
        (B,).
    """
    weight = 1 + (pos_weight - 1) * target
    raw = F.binary_cross_entropy_with_logits(logits, target, weight, reduction='none')
    return raw.mean((1, 2, 3))
