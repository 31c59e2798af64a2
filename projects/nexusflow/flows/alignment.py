# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What it means that the tasks' embeddings agree on each sample: at a centre, or in pairs."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from .mmd import squared_distances

__all__ = [
    'center_alignment',
    'center_distance',
    'pairwise_alignment',
    'relative_distance',
    'weighted_center',
]


def center_alignment(z: Tensor, center: Tensor | None = None) -> Tensor:
    r"""The paper's centre objective, O(N) in the number of tasks.

    .. math::
        L = \frac{1}{B D} \sum_b \sum_i \lVert z_{ib} - \bar z_b \rVert^2, \qquad
        \bar z_b = \frac{1}{N} \sum_i z_{ib}

    The paper gives no normalisation. The mean over the batch makes L independent of B, the mean
    over the D entries makes the weight of L independent of the size of the embedding; the paper's
    plain sum for one sample is D times as large.

    Args:
        z: Embeddings (N, B, D) of N tasks.
        center: Another centre (B, D) than the mean.

    Returns:
        Scalar; 0 if and only if all tasks are at the centre of each sample.

    Example:
        >>> import torch
        >>> center_alignment(torch.tensor([[[0.0, 0.0]], [[2.0, 0.0]]])).item()
        1.0
    """
    center = z.mean(dim=0) if center is None else center
    return (z - center).square().sum(dim=0).mean()


def weighted_center(z: Tensor, confidence: Tensor) -> Tensor:
    """The tasks' mean by confidence, (B, D); the plain mean of a sample without any confidence.

    Args:
        z: Embeddings (N, B, D).
        confidence: (N, B), not negative.
    """
    nothing = confidence.sum(dim=0, keepdim=True) <= 0
    weight = torch.where(nothing, torch.ones_like(confidence), confidence)
    weight = weight / weight.sum(dim=0)
    return torch.einsum('nb,nbd->bd', weight.to(z.dtype), z)


def pairwise_alignment(z: Tensor) -> Tensor:
    r"""The paper's pairwise objective, O(N^2) in the number of tasks.

    .. math:: L = \frac{1}{N B D} \sum_b \sum_{i<j} \lVert z_{ib} - z_{jb} \rVert^2

    Divided by N, it is the same function as :func:`center_alignment`, so that one weight serves
    both; the paper's plain sum for one sample is N D times as large. What remains is the cost.

    Args:
        z: Embeddings (N, B, D) of N tasks.
    """
    pairs = [(a - b).square().mean() for a, b in combinations(z.unbind(), 2)]
    return torch.stack(pairs).sum() / len(z)


def center_distance(z: Tensor) -> Tensor:
    """Mean Euclidean distance of a task's embedding to the centre, a scalar, for z (N, B, D)."""
    return (z - z.mean(dim=0)).square().sum(dim=-1).sqrt().mean()


def relative_distance(z: Tensor) -> Tensor:
    """How far the tasks are apart on the same sample, as a share of how far they are on different ones.

    The ratio of the mean squared distances between two tasks' embeddings of one sample and of two samples. Unlike a
    distance it does not fall when all embeddings shrink: it is 0 where tasks agree and 1 where nothing is aligned, or
    where all samples look alike.

    Args:
        z: Embeddings (N, B, D) of N tasks, B at least 2.

    Example:
        >>> z = torch.tensor([[[0.0], [2.0]], [[0.0], [2.0]]])
        >>> relative_distance(z).item(), relative_distance(torch.zeros(2, 2, 1)).item()
        (0.0, 1.0)
    """
    rows = z.shape[1]
    pairs = [squared_distances(a, b) for a, b in combinations(z.unbind(), 2)]
    squared = torch.stack(pairs).sum(dim=0)
    same = squared.diagonal().sum()
    different = (squared.sum() - same) / (rows - 1)
    return torch.where(different > 0, same / different, torch.ones_like(same))
