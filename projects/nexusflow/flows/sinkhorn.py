# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Entropic optimal transport between two sets of vectors, in the log domain.

Cuturi, 2013, https://arxiv.org/abs/1306.0895; debiased as in Feydy et al., 2019,
https://arxiv.org/abs/1810.08278.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ['entropic_transport', 'sinkhorn_divergence', 'transport_plan']


@torch.no_grad()
def transport_plan(cost: Tensor, epsilon: float, num_iters: int = 100) -> Tensor:
    r"""Plan between uniform weights that minimises :math:`\langle P, C\rangle + \epsilon\,KL(P|ab)`.

    Args:
        cost: C (B, K).
        epsilon: Strength of the entropy, in units of the cost; small values need more iterations.
        num_iters: Alternating updates of the two potentials.

    Returns:
        P (B, K), its columns sum to 1 / K exactly, its rows to 1 / B as the iterations converge.

    Example:
        >>> transport_plan(torch.tensor([[0.0, 9.0], [9.0, 0.0]]), 0.5).round(decimals=4).tolist()
        [[0.5, 0.0], [0.0, 0.5]]
    """
    rows, columns = cost.shape
    scaled = -cost / epsilon
    g = scaled.new_zeros(columns)
    f = scaled.new_zeros(rows)
    for _ in range(num_iters):
        f = math.log(columns) - torch.logsumexp(scaled + g, dim=1)
        g = math.log(rows) - torch.logsumexp(scaled + f[:, None], dim=0)
    return torch.exp(scaled + f[:, None] + g) / (rows * columns)


def entropic_transport(x: Tensor, y: Tensor, epsilon: float, num_iters: int = 100) -> Tensor:
    """Cost of moving rows x (B, D) to rows y (K, D), with the entropy's share; a scalar.

    The cost of a pair is the mean over the entries of the squared difference, as in the other
    objectives. At the optimum the plan does not move to first order (envelope theorem), so the
    gradient is that of the cost under the plan held fixed: no iteration is differentiated.
    """
    cost = (x[:, None] - y[None]).square().mean(dim=-1)
    plan = transport_plan(cost.detach(), epsilon, num_iters)
    entropy = torch.xlogy(plan, plan * plan.numel()).sum()
    return (plan * cost).sum() + epsilon * entropy


def sinkhorn_divergence(
    x: Tensor, y: Tensor, epsilon: float = 0.1, num_iters: int = 100, debiased: bool = True
) -> Tensor:
    """Entropic transport between x (B, D) and y (K, D), a scalar.

    Debiased, half of each set's transport onto itself is taken off: it is then 0 for equal sets and
    not negative. Without, the entropy draws all rows together.
    """
    between = entropic_transport(x, y, epsilon, num_iters)
    if not debiased:
        return between
    own = [entropic_transport(rows, rows, epsilon, num_iters) for rows in (x, y)]
    return between - 0.5 * (own[0] + own[1])
