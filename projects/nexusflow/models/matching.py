# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""One-to-one assignment among pairs that are allowed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

FORBIDDEN = 1e4


def match_batch(
    cost: Tensor,
    allowed: Tensor,
    counts: Sequence[int],
    repeats: int = 1,
    forbidden: float = FORBIDDEN,
) -> tuple[Tensor, Tensor, Tensor]:
    """Hungarian assignment of every sample, with one copy from the device and one back.

    Args:
        cost: (B, N, K), absolute values well below 1e4; a pair of cost infinity or NaN is not allowed.
        allowed: (B, N, K) which pairs may be matched.
        counts: Columns of each of the B samples that are not padding; the padding comes last.
        repeats: How many rows a column may have.
        forbidden: What it costs to leave a row and a column alone, more than any pair costs. By default so much that as
            many pairs as possible are made.

    Returns:
        Sample, row and column indices of the pairs, each (M,).

    Example:
        >>> cost = torch.tensor([[[0.0, 1.0], [5.0, 2.0]]])
        >>> [index.tolist() for index in match_batch(cost, cost < 9, [2])]
        [[0, 0], [0, 1], [0, 1]]
        >>> [index.tolist() for index in match_batch(cost, cost < 9, [1], repeats=2)]
        [[0, 0], [0, 1], [0, 0]]
    """
    host = torch.where(allowed & cost.isfinite(), cost, forbidden).detach().cpu().numpy()
    pairs = [np.zeros((3, 0), dtype=np.int64)]
    for b, count in enumerate(counts):
        rows, cols = linear_sum_assignment(host[b, :, :count].repeat(repeats, axis=1))
        pairs.append(np.stack([np.full_like(rows, b), rows, cols // repeats]))
    index = np.concatenate(pairs, axis=1)
    index = index[:, host[tuple(index)] < forbidden]
    sample, row, col = torch.from_numpy(index).to(cost.device)
    return sample, row, col
