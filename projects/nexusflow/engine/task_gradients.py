# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Each task's gradient on what the tasks share, from a batch's losses computed once more and left without a trace."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import chain

import torch
import torch.distributed as dist
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from ..flows.gather import is_distributed

_TASK_OF_LOSS = re.compile(r'loss_([^_.]+)')


@contextmanager
def without_trace(model: nn.Module) -> Iterator[None]:
    """Whatever the model computes within: its buffers, its untrained weights and the random numbers stay as they were.

    The trained weights are not kept; only an optimiser changes them.
    """
    untrained = (p for p in model.parameters() if not p.requires_grad)
    kept = [(tensor, tensor.detach().clone()) for tensor in chain(model.buffers(), untrained)]
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == 'cuda'})
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        with torch.no_grad():
            for tensor, value in kept:
                tensor.copy_(value)


def sum_by_task(
    losses: Mapping[str, Tensor | Sequence[Tensor]],
    patterns: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Tensor]:
    """A detector's losses added up for each task.

    Args:
        losses: By name, as mmengine's models give them.
        patterns: Task to patterns (``fnmatch``) of its losses' names. A loss that fits none belongs to the task
            in its name, ``loss_<task>_...``; other names are left out.

    Returns:
        Task to a scalar.
    """
    sums: dict[str, Tensor] = {}
    for name, value in losses.items():
        fits = [t for t, p in (patterns or {}).items() if any(fnmatchcase(name, one) for one in p)]
        found = _TASK_OF_LOSS.match(name)
        task = fits[0] if fits else found and found.group(1)
        if task:
            parts = [value] if isinstance(value, Tensor) else list(value)
            total = torch.stack([part.mean() for part in parts]).sum()
            sums[task] = sums[task] + total if task in sums else total
    return sums


def task_gradients(
    model: nn.Module,
    data_batch: dict | tuple | list,
    shared: Sequence[nn.Parameter],
    optim_wrapper: OptimWrapper,
    patterns: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Tensor]:
    """Gradients of the tasks' losses.

    Nothing is left behind: no ``.grad``, no statistics of normalisations, no random numbers drawn. With several
    processes each must call this, and the gradients are their mean, as in training.

    Args:
        model: mmengine model, without the wrapper of distributed training.
        data_batch: A batch as the data loader gives it.
        shared: Weights that the tasks share.
        optim_wrapper: For its precision.
        patterns: See :func:`sum_by_task`.

    Returns:
        Task to its gradient (number of shared weights,), 0 for a task that the batch has no label of.
    """
    with without_trace(model):
        with torch.enable_grad(), optim_wrapper.optim_context(model):
            data = model.data_preprocessor(data_batch, True)
            losses = model._run_forward(data, mode='loss')
        gradients = {}
        for task, loss in sum_by_task(losses, patterns).items():
            grads = [None] * len(shared)
            if loss.requires_grad:
                grads = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
            flat = [
                (torch.zeros_like(weight) if grad is None else grad).flatten().float()
                for weight, grad in zip(shared, grads, strict=True)
            ]
            gradients[task] = torch.cat(flat)
    if is_distributed():
        for gradient in gradients.values():
            dist.all_reduce(gradient)
            gradient /= dist.get_world_size()
    return gradients
