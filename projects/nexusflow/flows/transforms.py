# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What stands between an aggregator and the alignment: a flow, nothing, or a network like any other.

Nothing and the plain network are ablations: 'plain MSE without a flow', and a network as large as
the flow that need not be invertible.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .coupling import CouplingFlow

__all__ = ['TRANSFORMS', 'PlainNetwork', 'Unchanged', 'build_transform']


class Unchanged(nn.Module):
    """No transform at all; aligned are the aggregators' results.

    Args:
        dim: Length D of the vectors.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) as it is, in single precision or better."""
        return x.to(torch.promote_types(x.dtype, torch.float32))


class PlainNetwork(nn.Module):
    """Residual blocks of two linear layers, of as many weights as a :class:`CouplingFlow`.

    Like the flow it starts as the identity; unlike the flow nothing makes it invertible.

    Args:
        dim: Length D of the vectors.
        num_layers: Blocks; as many as the flow's layers.
        hidden: Width of the flow's networks; D if not given. The blocks' width follows from it.
    """

    def __init__(self, dim: int, num_layers: int = 6, hidden: int | None = None) -> None:
        super().__init__()
        self.dim = dim
        budget = _count(CouplingFlow(dim, num_layers=num_layers, hidden=hidden)) / num_layers
        width = max(1, round((budget - dim) / (2 * dim + 1)))
        self.layers = nn.ModuleList(self._block(dim, width) for _ in range(num_layers))

    @staticmethod
    def _block(dim: int, width: int) -> nn.Sequential:
        last = nn.Linear(width, dim)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        return nn.Sequential(nn.Linear(dim, width), nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, D), outside autocast, as the flow."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(next(self.parameters()).dtype)
            for layer in self.layers:
                x = x + layer(x)
        return x


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


TRANSFORMS: dict[str, Callable[..., nn.Module]] = {
    'coupling': CouplingFlow,
    'none': Unchanged,
    'plain': PlainNetwork,
}


def build_transform(cfg: Mapping[str, Any] | None, dim: int) -> nn.Module:
    """A transform of vectors of length ``dim`` from its configuration.

    Args:
        cfg: ``type``, a key of ``TRANSFORMS`` ('coupling' if not given), and its arguments.
        dim: Length D of the vectors.

    Raises:
        ValueError: If the type is unknown.
    """
    args = dict(cfg or {})
    kind = args.pop('type', 'coupling')
    if kind not in TRANSFORMS:
        raise ValueError(f'flow: unknown type {kind!r}; choose from {sorted(TRANSFORMS)}')
    return TRANSFORMS[kind](dim, **args)
