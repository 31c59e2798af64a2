# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The rows of all processes, for statistics of the whole batch; with gradient."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ['gather_rows', 'is_distributed']


def is_distributed() -> bool:
    """Whether there is more than one process."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _Gather(torch.autograd.Function):
    """All processes' rows; the gradient goes to the own ones."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        counts = [torch.zeros((), dtype=torch.long, device=rows.device) for _ in range(_world())]
        dist.all_gather(counts, torch.tensor(len(rows), device=rows.device))
        sizes = [int(count) for count in counts]
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        shares = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(shares, padded)
        start = sum(sizes[: dist.get_rank()])
        ctx.own = slice(start, start + len(rows))
        return torch.cat([share[:size] for share, size in zip(shares, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0][ctx.own] * _world()


def _world() -> int:
    return dist.get_world_size()


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of all processes, in the order of the processes; the given ones if there is one only.

    A loss of the gathered rows is the same number in every process. Each one's gradient for its own
    rows is multiplied by the number of processes, since distributed training averages the gradients
    of the processes: the result is the gradient of one process with the whole batch. The backward
    pass does not communicate. Every process must call this; their numbers of rows may differ.

    Args:
        rows: (B, ...).

    Returns:
        (sum of the processes' B, ...).
    """
    if not is_distributed():
        return rows
    gathered: Tensor = _Gather.apply(rows.contiguous())  # type: ignore[no-untyped-call]
    return gathered
