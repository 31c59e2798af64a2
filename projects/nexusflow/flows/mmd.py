# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Maximum mean discrepancy: how far two sets of vectors are from having one distribution.

Gretton et al., 2012, A Kernel Two-Sample Test, https://jmlr.org/papers/v13/gretton12a.html.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ['FACTORS', 'median_bandwidth', 'mmd2', 'squared_distances']

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(B, D) and (C, D) -> squared Euclidean distances (B, C), with a gradient at 0."""
    return (x[:, None] - y[None]).square().sum(dim=-1)


@torch.no_grad()
def median_bandwidth(x: Tensor, y: Tensor) -> Tensor:
    """The median of the squared distances between all different rows of x and y together, a scalar.

    It is 1 if the rows are all the same, where any bandwidth gives 0.
    """
    rows = torch.cat((x, y))
    upper = torch.triu_indices(len(rows), len(rows), offset=1, device=rows.device)
    median = squared_distances(rows, rows)[upper[0], upper[1]].median()
    return torch.where(median > 0, median, torch.ones_like(median))


def mmd2(
    x: Tensor,
    y: Tensor,
    bandwidth: float | Tensor | None = None,
    factors: Sequence[float] = FACTORS,
    unbiased: bool = False,
) -> Tensor:
    r"""Squared MMD under the mean of Gaussian kernels :math:`\exp(-|a - b|^2 / (f h))`.

    The biased estimate (V-statistic) counts each row with itself. It is never negative, and is
    defined for a single row. The unbiased one (U-statistic) leaves these pairs out, is 0 on average
    for equal distributions, and may be negative.

    Args:
        x: (B, D).
        y: (C, D).
        bandwidth: h, a squared distance; by default :func:`median_bandwidth`, without gradient.
        factors: f of each kernel.
        unbiased: Which estimate.

    Returns:
        Scalar; at most 2.

    Raises:
        ValueError: If ``unbiased`` and there are fewer than two rows in x or y.

    Example:
        >>> zeros, far = torch.zeros(3, 2), torch.full((3, 2), 100.0)
        >>> round(mmd2(zeros, far, bandwidth=1.0).item(), 4)
        2.0
    """
    if unbiased and min(len(x), len(y)) < 2:
        raise ValueError(
            f'unbiased MMD needs two rows of each task, got {len(x)} and {len(y)}; use a larger '
            'batch, or unbiased=False'
        )
    scale = median_bandwidth(x, y) if bandwidth is None else bandwidth

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        distance = squared_distances(a, b) / scale
        return torch.stack([torch.exp(-distance / factor) for factor in factors]).mean(dim=0)

    def within(a: Tensor) -> Tensor:
        if not unbiased:
            return kernel(a, a).mean()
        return (kernel(a, a).sum() - len(a)) / (len(a) * (len(a) - 1))

    return within(x) + within(y) - 2 * kernel(x, y).mean()
