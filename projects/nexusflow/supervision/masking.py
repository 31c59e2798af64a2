# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Losses of samples that are not labelled for a task: part of the graph, without any gradient.

A task that no sample of a batch is labelled for must still take part in the backward pass, or
distributed training waits for its gradients for ever.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ['graph_zero', 'label_mask', 'labelled_count', 'masked_mean']


def label_mask(
    tasks: Sequence[Sequence[str]], task: str, device: torch.device | str | None = None
) -> Tensor:
    """Which samples are labelled for a task.

    Args:
        tasks: The labelled tasks of each of B samples.
        task: Name of the task.
        device: Device of the result.

    Returns:
        Boolean (B,).

    Example:
        >>> label_mask([('map',), ('map', 'track'), ()], 'track').tolist()
        [False, True, False]
    """
    return torch.tensor([task in names for names in tasks], dtype=torch.bool, device=device)


def graph_zero(*tensors: Tensor) -> Tensor:
    """A scalar 0 that hangs on all ``tensors`` and sends them gradients of exactly 0.

    Unlike ``0 * tensor.sum()`` it stays 0 when they hold infinities or NaN.
    """
    return torch.stack([tensor.reshape(-1)[:0].sum() for tensor in tensors]).sum()


def labelled_count(mask: Tensor) -> Tensor:
    """Number of labelled samples as a float scalar; in distributed training its mean per process.

    Every process must call it. Divided by this count, the gradients that the processes average are
    those of the mean over the labelled samples of the whole batch.
    """
    count = mask.sum().float()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(count)
        count = count / dist.get_world_size()
    return count


def masked_mean(loss: Tensor, mask: Tensor, count: Tensor | None = None) -> Tensor:
    """Mean of a loss over the labelled samples.

    Args:
        loss: (B,) or (B, ...), a loss per sample; entries of a sample are averaged.
        mask: Boolean (B,), true for labelled samples.
        count: Divisor; ``labelled_count(mask)`` if not given.

    Returns:
        Scalar. Unlabelled samples get a gradient of exactly 0, also if their loss is not finite.
        It is 0, with its graph, if no sample is labelled.

    Example:
        >>> masked_mean(torch.tensor([1.0, 5.0, 3.0]), torch.tensor([True, False, True])).item()
        2.0
    """
    per_sample = loss.flatten(1).mean(dim=1) if loss.ndim > 1 else loss
    count = labelled_count(mask) if count is None else count
    total = torch.where(mask, per_sample, torch.zeros_like(per_sample)).sum()
    return total / torch.where(count > 0, count, torch.ones_like(count))
