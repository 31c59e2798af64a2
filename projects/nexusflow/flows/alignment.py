# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What it means that the tasks' embeddings agree."""

from __future__ import annotations

from torch import Tensor

__all__ = ['center_alignment', 'center_distance']


def center_alignment(z: Tensor) -> Tensor:
    r"""The paper's centre objective, O(N) in the number of tasks.

    .. math::
        L = \frac{1}{B D} \sum_b \sum_i \lVert z_{ib} - \bar z_b \rVert^2, \qquad
        \bar z_b = \frac{1}{N} \sum_i z_{ib}

    The paper gives no normalisation. The mean over the batch makes L independent of B, the mean
    over the D entries makes the weight of L independent of the size of the embedding; the paper's
    plain sum for one sample is D times as large.

    Args:
        z: Embeddings (N, B, D) of N tasks.

    Returns:
        Scalar; 0 if and only if all tasks agree on each sample.

    Example:
        >>> import torch
        >>> center_alignment(torch.tensor([[[0.0, 0.0]], [[2.0, 0.0]]])).item()
        1.0
    """
    return (z - z.mean(dim=0)).square().sum(dim=0).mean()


def center_distance(z: Tensor) -> Tensor:
    """Mean Euclidean distance of a task's embedding to the centre, a scalar, for z (N, B, D)."""
    return (z - z.mean(dim=0)).square().sum(dim=-1).sqrt().mean()
