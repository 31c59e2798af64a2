# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Maps between the layers of a flow that let every entry meet every other one.

Both kinds are orthogonal. They leave the log-determinant and the Lipschitz constants of a flow as they are, they
are inverted exactly, and a flow with them still starts as the identity.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn

__all__ = ['FixedPermutation', 'HouseholderRotation', 'Permutation', 'build_permutations']

PERMUTATIONS = ('fixed', 'learned')
REFLECTIONS = 8


class FixedPermutation(nn.Module):
    """The entries in another order, which is saved with the weights.

    Args:
        order: Integers (D,): entry i of the result is entry ``order[i]`` of the argument.
    """

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.order: Tensor
        self.register_buffer('order', order)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return x.index_select(-1, self.order)

    def inverse(self, z: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return z.index_select(-1, self.order.argsort())


class HouseholderRotation(nn.Module):
    r"""A learned rotation, as a product of reflections.

    Tomczak and Welling's (2016, https://arxiv.org/abs/1611.09630) in place of a permutation. The product of
    K reflections at the hyperplanes normal to the rows :math:`v_k` of V is, with S the upper triangle of
    :math:`V V^T` whose diagonal is halved (Joffrain et al., 2006, https://doi.org/10.1145/1141885.1141886),

    .. math:: x \mapsto x H_1 \cdots H_K = x - x V^T S^{-1} V

    so it costs two thin products. The reflections start in equal pairs, whose product is the identity; the two of
    a pair get opposite gradients, so they part at the first step.

    Args:
        dim: Length D of the vectors.
        reflections: K, even.

    Raises:
        ValueError: If ``reflections`` is not even and positive.
    """

    def __init__(self, dim: int, reflections: int = REFLECTIONS) -> None:
        super().__init__()
        if reflections < 2 or reflections % 2:
            raise ValueError(f"'reflections' must be even and positive, got {reflections}")
        self.vectors = nn.Parameter(torch.randn(reflections // 2, dim).repeat_interleave(2, dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        solved = torch.linalg.solve_triangular(self._triangle(), self.vectors, upper=True)
        z: Tensor = x - x @ self.vectors.mT @ solved
        return z

    def inverse(self, z: Tensor) -> Tensor:
        """(..., D) -> (..., D); the transposed map."""
        solved = torch.linalg.solve_triangular(self._triangle().mT, self.vectors, upper=False)
        x: Tensor = z - z @ self.vectors.mT @ solved
        return x

    def _triangle(self) -> Tensor:
        """S (K, K)."""
        gram = self.vectors @ self.vectors.mT
        return gram.triu() - 0.5 * gram.diag().diag()


Permutation: TypeAlias = FixedPermutation | HouseholderRotation
"""What may stand between two layers."""


def build_permutations(kind: str | None, dim: int, num_layers: int, seed: int) -> nn.ModuleList:
    """The maps behind the first layers of a flow, in their order.

    Args:
        kind: None, 'fixed' or 'learned'.
        dim: Length D of the vectors.
        num_layers: Number of couplings.
        seed: Of the fixed permutations; flows of one seed have the same.

    Returns:
        One map for each gap between two layers; behind fixed ones another, which restores the order of the entries.

    Raises:
        ValueError: If ``kind`` is none of these.
    """
    if kind is None:
        return nn.ModuleList()
    if kind not in PERMUTATIONS:
        raise ValueError(
            f"'permutation' must be None or one of {', '.join(PERMUTATIONS)}, got {kind!r}"
        )
    gaps = num_layers - 1
    if kind == 'learned':
        return nn.ModuleList(HouseholderRotation(dim) for _ in range(gaps))
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(dim, generator=generator) for _ in range(gaps)]
    total = torch.arange(dim)
    for order in orders:
        total = total[order]
    return nn.ModuleList(FixedPermutation(order) for order in [*orders, total.argsort()])
