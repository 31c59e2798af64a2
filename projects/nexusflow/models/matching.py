# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""One-to-one assignment among pairs that are allowed."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

FORBIDDEN = 1e4


def match_within(cost: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Hungarian assignment that leaves rows and columns without an allowed partner unmatched.

    Args:
        cost: (N, K), absolute values well below 1e4.
        allowed: (N, K) which pairs may be matched.

    Returns:
        Row and column indices of the pairs.

    Example:
        >>> cost = torch.tensor([[0.0, 1.0], [5.0, 2.0]])
        >>> match_within(cost, cost < 1.5)
        (tensor([0]), tensor([0]))
    """
    rows, cols = linear_sum_assignment(cost.masked_fill(~allowed, FORBIDDEN).cpu().numpy())
    rows, cols = (
        torch.as_tensor(rows, device=cost.device),
        torch.as_tensor(cols, device=cost.device),
    )
    kept = allowed[rows, cols]
    return rows[kept], cols[kept]
