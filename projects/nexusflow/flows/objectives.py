# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Objectives by name: what is minimised so that the tasks' embeddings agree.

'center' and 'pairwise' compare the tasks on each sample; 'mmd' and 'sinkhorn' compare their
distributions over the batch, and leave open which sample goes where.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from .alignment import center_alignment, pairwise_alignment, weighted_center
from .gather import gather_rows
from .mmd import FACTORS, mmd2
from .sinkhorn import sinkhorn_divergence

__all__ = [
    'OBJECTIVES',
    'CenterObjective',
    'MMDObjective',
    'Objective',
    'PairwiseObjective',
    'SinkhornObjective',
    'build_objective',
]


class Objective(nn.Module):
    """A function of the tasks' embeddings (N, B, D).

    Attributes:
        uses_confidence: Whether confidences make a difference.
        unlabelled: Confidence in a task's embedding of a sample that is not labelled for the task.
        momentum: If given, the embeddings of slowly following copies of the surrogates are handed
            in as ``anchor``; see :class:`nexusflow.flows.momentum.MomentumCopy`.
    """

    uses_confidence: bool = False
    unlabelled: float = 1.0
    momentum: float | None = None

    def forward(
        self, z: Tensor, confidence: Tensor | None = None, anchor: Tensor | None = None
    ) -> Tensor:
        """The objective, a scalar.

        Args:
            z: Embeddings (N, B, D) of N tasks.
            confidence: (N, B), not negative; all alike if not given.
            anchor: Embeddings (N, B, D) of the surrogates' momentum copies, without gradient.
        """
        raise NotImplementedError


class CenterObjective(Objective):
    r"""Each task's embedding is drawn to a centre of the sample, see :func:`center_alignment`.

    By default this is the paper's objective. With confidences :math:`w_i` the centre is
    :math:`\sum_i w_i z_i / \sum_i w_i` and is held fixed (no gradient): the less trusted embedding
    moves, the trusted one stays. For equal confidences value and gradient are those of the paper's.
    With momentum the centre is that of the surrogates' momentum copies, also held fixed (mean
    teacher, Tarvainen & Valpola, 2017; BYOL, Grill et al., 2020).

    Args:
        unlabelled: Confidence in a task's embedding where the sample is not labelled for the task;
            a labelled one's is 1.
        momentum: Share of a copy that stays at each step, as 0.99; no copies by default.

    Raises:
        ValueError: If an argument is out of range.
    """

    uses_confidence = True

    def __init__(self, unlabelled: float = 1.0, momentum: float | None = None) -> None:
        super().__init__()
        if unlabelled < 0:
            raise ValueError(f"objective center: 'unlabelled' must not be negative: {unlabelled}")
        if momentum is not None and not 0.0 <= momentum < 1.0:
            raise ValueError(f"objective center: 'momentum' must be in [0, 1), got {momentum}")
        self.unlabelled, self.momentum = unlabelled, momentum

    def forward(
        self, z: Tensor, confidence: Tensor | None = None, anchor: Tensor | None = None
    ) -> Tensor:
        """See the base class."""
        if confidence is None and anchor is None:
            return center_alignment(z)
        source = z.detach() if anchor is None else anchor
        if confidence is None:
            return center_alignment(z, source.mean(dim=0))
        return center_alignment(z, weighted_center(source, confidence))


class PairwiseObjective(Objective):
    """All pairs of tasks on each sample, see :func:`pairwise_alignment`."""

    def forward(
        self, z: Tensor, confidence: Tensor | None = None, anchor: Tensor | None = None
    ) -> Tensor:
        """See the base class; confidences and anchors are not used."""
        return pairwise_alignment(z)


class _BatchObjective(Objective):
    """Pairs of tasks over the rows of all processes; divided by N, as the pairwise objective."""

    def forward(
        self, z: Tensor, confidence: Tensor | None = None, anchor: Tensor | None = None
    ) -> Tensor:
        """See the base class; confidences and anchors are not used."""
        rows = gather_rows(z.transpose(0, 1)).unbind(dim=1)
        return torch.stack([self.between(a, b) for a, b in combinations(rows, 2)]).sum() / len(rows)

    def between(self, x: Tensor, y: Tensor) -> Tensor:
        """The discrepancy of two tasks, a scalar, from their rows (B, D)."""
        raise NotImplementedError


class MMDObjective(_BatchObjective):
    """Squared maximum mean discrepancy, see :func:`nexusflow.flows.mmd.mmd2`.

    Args:
        bandwidth: A squared distance; the median of the batch by default.
        factors: Multiples of it, one for each kernel.
        unbiased: Whether the estimate is the unbiased one; the biased one works for one row too.
    """

    def __init__(
        self,
        bandwidth: float | None = None,
        factors: Sequence[float] = FACTORS,
        unbiased: bool = False,
    ) -> None:
        super().__init__()
        self.bandwidth, self.factors, self.unbiased = bandwidth, tuple(factors), unbiased

    def between(self, x: Tensor, y: Tensor) -> Tensor:
        """See the base class."""
        return mmd2(x, y, self.bandwidth, self.factors, self.unbiased)


class SinkhornObjective(_BatchObjective):
    """Entropic optimal transport, see :func:`nexusflow.flows.sinkhorn.sinkhorn_divergence`.

    Args:
        epsilon: Strength of the entropy, in units of the mean squared difference of an entry.
        num_iters: Iterations.
        debiased: Whether each task's transport onto itself is taken off.

    Raises:
        ValueError: If ``epsilon`` is not positive.
    """

    def __init__(self, epsilon: float = 0.1, num_iters: int = 100, debiased: bool = True) -> None:
        super().__init__()
        if epsilon <= 0:
            raise ValueError(f"objective sinkhorn: 'epsilon' must be positive, got {epsilon}")
        self.epsilon, self.num_iters, self.debiased = epsilon, num_iters, debiased

    def between(self, x: Tensor, y: Tensor) -> Tensor:
        """See the base class."""
        return sinkhorn_divergence(x, y, self.epsilon, self.num_iters, self.debiased)


OBJECTIVES: dict[str, Callable[..., Objective]] = {
    'center': CenterObjective,
    'mmd': MMDObjective,
    'pairwise': PairwiseObjective,
    'sinkhorn': SinkhornObjective,
}


def build_objective(cfg: Mapping[str, Any] | None) -> Objective:
    """An objective from its configuration; the paper's centre if there is none.

    Args:
        cfg: ``type``, a key of ``OBJECTIVES``, and its arguments.

    Raises:
        ValueError: If the type is unknown.
    """
    args = dict(cfg or {'type': 'center'})
    kind = args.pop('type', None)
    if kind not in OBJECTIVES:
        raise ValueError(f'objective: unknown type {kind!r}; choose from {sorted(OBJECTIVES)}')
    return OBJECTIVES[kind](**args)
