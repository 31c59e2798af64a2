# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A guard against collapse: an aggregator is not invertible, and could agree by saying nothing.

Variance and covariance terms of VICReg (Bardes et al., 2022, https://arxiv.org/abs/2105.04906).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .gather import gather_rows

__all__ = ['CollapseGuard', 'covariance_term', 'variance_term']

EPSILON = 1e-4


def variance_term(rows: Tensor, std: float = 1.0) -> Tensor:
    """Mean over the entries of max(0, std - sqrt(variance + 1e-4)), a scalar, for rows (B, D)."""
    spread = (rows.var(dim=0) + EPSILON).sqrt()
    return torch.relu(std - spread).mean()


def covariance_term(rows: Tensor) -> Tensor:
    """Sum of the squared covariances of different entries, over D; a scalar, for rows (B, D)."""
    centred = rows - rows.mean(dim=0)
    covariance = centred.T @ centred / (len(rows) - 1)
    total = covariance.square().sum() - covariance.diagonal().square().sum()
    return total / rows.shape[1]


class CollapseGuard(nn.Module):
    """Keeps the spread of each task's embedding over the batch, and its entries different.

    The statistics are those of the rows of all processes. With fewer than two rows there is no
    spread, and the guard is 0.

    Args:
        weight: Factor of the guard in the total loss.
        on: 'z' guards the flows' results, 'h' the aggregators' h': the flows then remain free to shrink them.
        std: The spread that is asked for. A normalised vector's entries have at most 1 on average.
        variance: Share of the variance term.
        covariance: Share of the covariance term; VICReg's is 1/25 of the variance's.

    Raises:
        ValueError: If ``on`` is unknown, or ``std`` is not positive.
    """

    def __init__(
        self,
        weight: float = 0.1,
        on: str = 'z',
        std: float = 0.5,
        variance: float = 1.0,
        covariance: float = 0.04,
    ) -> None:
        super().__init__()
        if on not in ('h', 'z'):
            raise ValueError(f"guard: 'on' must be 'h' or 'z', got {on!r}")
        if std <= 0:
            raise ValueError(f"guard: 'std' must be positive, got {std}")
        self.weight, self.on, self.std = weight, on, std
        self.variance, self.covariance = variance, covariance

    def forward(self, embeddings: Tensor) -> Tensor:
        """Mean over the tasks, with its weight; a scalar, for embeddings (N, B, D)."""
        rows = gather_rows(embeddings.transpose(0, 1)).transpose(0, 1)
        if rows.shape[1] < 2:
            return rows[:, :0].sum()
        terms = [
            self.variance * variance_term(task, self.std) + self.covariance * covariance_term(task)
            for task in rows.unbind()
        ]
        return self.weight * torch.stack(terms).mean()
