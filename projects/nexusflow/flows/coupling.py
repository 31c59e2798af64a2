# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Affine coupling layers: networks that are invertible by construction.

The idea is RealNVP's (Dinh et al., 2017, https://arxiv.org/abs/1605.08803); a log-scale bounded by
tanh keeps the inverse accurate when the weights grow in training.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import cast

import torch
from torch import Tensor, nn

from .permutation import Permutation, build_permutations

__all__ = ['AffineCoupling', 'CouplingFlow']


class AffineCoupling(nn.Module):
    r"""One layer: half of the vector passes and says how the other half is scaled and shifted.

    .. math:: (a, b) \mapsto (a,\; b \exp(s(a)) + t(a)), \qquad s(a) = k \tanh(\hat s(a) / 2)

    One network gives both :math:`\hat s` and t. Its last layer starts at zero, so the layer starts as
    the identity. :math:`\tanh(r / 2) = 2 \sigma(r) - 1` is computed as the right side, which takes a
    CPU a quarter of the time.

    Args:
        dim_a: Length of the half that passes.
        dim_b: Length of the half that is transformed.
        hidden: Width of the network.
        scale_bound: k, the largest absolute log-scale.
    """

    def __init__(self, dim_a: int, dim_b: int, hidden: int, scale_bound: float = 0.5) -> None:
        super().__init__()
        self.scale_bound = scale_bound
        last = nn.Linear(hidden, 2 * dim_b)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(nn.Linear(dim_a, hidden), nn.ReLU(inplace=True), last)

    def log_scale_and_shift(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """s(a) and t(a), each (..., dim_b)."""
        raw_scale, shift = self.net(a).chunk(2, dim=-1)
        k = self.scale_bound
        return torch.sigmoid(raw_scale).mul(2.0 * k).sub_(k), shift

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """The transformed half (..., dim_b) and its log-scale, whose sum is the log-determinant."""
        log_scale, shift = self.log_scale_and_shift(a)
        return torch.addcmul(shift, b, torch.exp(log_scale)), log_scale

    def inverse(self, a: Tensor, b: Tensor) -> Tensor:
        """The half (..., dim_b) that ``forward`` turned into ``b``."""
        log_scale, shift = self.log_scale_and_shift(a)
        return (b - shift) / log_scale.exp_()


class CouplingFlow(nn.Module):
    r"""A stack of couplings in which the halves take turns: :math:`c_i` of the paper.

    It computes in the precision of its parameters (float32) also under autocast, because in half
    precision the inverse is lost. It starts as the identity.

    Args:
        dim: Length D of the vectors, at least 2; it may be odd.
        num_layers: Number of couplings; the paper reports 6 as best.
        hidden: Width of the networks, at least 1; D if not given.
        scale_bound: Largest absolute log-scale of one layer.
        permutation: What else mixes the entries between layers: nothing, a 'fixed' permutation, or a
            'learned' rotation (see :mod:`nexusflow.flows.permutation`).
        seed: Of the fixed permutations.

    Raises:
        ValueError: If ``dim`` < 2, ``num_layers`` < 1, ``hidden`` < 1 or ``scale_bound`` <= 0, or
            ``permutation`` is none of these.

    Example:
        >>> flow = CouplingFlow(dim=8)
        >>> x = torch.randn(4, 8)
        >>> torch.allclose(flow.inverse(flow(x)), x, atol=1e-5)
        True
    """

    def __init__(
        self,
        dim: int,
        num_layers: int = 6,
        hidden: int | None = None,
        scale_bound: float = 0.5,
        permutation: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if dim < 2:
            raise ValueError(f"'dim' must be at least 2 to be cut into two halves, got {dim}")
        if num_layers < 1:
            raise ValueError(f"'num_layers' must be at least 1, got {num_layers}")
        width = dim if hidden is None else hidden
        if width < 1:
            raise ValueError(f"'hidden' must be at least 1, got {hidden}")
        if scale_bound <= 0:
            raise ValueError(f"'scale_bound' must be positive, got {scale_bound}")
        self.dim = dim
        self.sizes = (dim - dim // 2, dim // 2)
        self.layers = nn.ModuleList(
            AffineCoupling(self.sizes[i % 2], self.sizes[(i + 1) % 2], width, scale_bound)
            for i in range(num_layers)
        )
        self.permutations = build_permutations(permutation, dim, num_layers, seed)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (..., D) to ``z`` (..., D)."""
        return self._transform(x)[0]

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x`` (..., D) to ``z`` (..., D) and log |det dz/dx| (...), in one pass."""
        z, log_scales = self._transform(x)
        return z, torch.cat(log_scales, dim=-1).sum(dim=-1)

    def inverse(self, z: Tensor) -> Tensor:
        """Map ``z`` (..., D) back to ``x`` (..., D)."""
        with torch.autocast(z.device.type, enabled=False):
            halves = self._halves(z)
            for i, (layer, permutation) in reversed(list(enumerate(self.steps()))):
                if permutation is not None:
                    halves = self._halves(permutation.inverse(torch.cat(halves, dim=-1)))
                kept, changed = halves[i % 2], halves[(i + 1) % 2]
                halves[(i + 1) % 2] = layer.inverse(kept, changed)
            return torch.cat(halves, dim=-1)

    def _transform(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The result (..., D), and the log-scales of all layers."""
        log_scales = []
        with torch.autocast(x.device.type, enabled=False):
            halves = self._halves(x)
            for i, (layer, permutation) in enumerate(self.steps()):
                kept, changed = halves[i % 2], halves[(i + 1) % 2]
                halves[(i + 1) % 2], log_scale = layer(kept, changed)
                log_scales.append(log_scale)
                if permutation is not None:
                    halves = self._halves(permutation(torch.cat(halves, dim=-1)))
            return torch.cat(halves, dim=-1), log_scales

    def steps(self) -> list[tuple[AffineCoupling, Permutation | None]]:
        """Each coupling, and what follows it."""
        steps = list(zip_longest(self.layers, self.permutations))
        return cast('list[tuple[AffineCoupling, Permutation | None]]', steps)

    def _halves(self, x: Tensor) -> list[Tensor]:
        """Cut (..., D) into its two halves, in the parameters' precision."""
        if x.shape[-1] != self.dim:
            raise ValueError(
                f'the flow is for vectors of length {self.dim}, got shape {tuple(x.shape)}'
            )
        dtype = next(self.parameters()).dtype
        return list(torch.split(x.to(dtype), list(self.sizes), dim=-1))
