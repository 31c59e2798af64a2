# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Dense tasks of MTPSL and JTR: what kind each is, and how its maps become the input of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .view import KINDS, DenseView, View

__all__ = ['DenseTask', 'build_tasks', 'dense_views', 'sample_classes', 'values_of']

CHANNELS = {'depth': 1, 'normals': 3}


@dataclass(frozen=True)
class DenseTask:
    """A dense task.

    Attributes:
        kind: One of :data:`nexusflow.supervision.view.KINDS`.
        channels: Channels of its maps.

    Raises:
        ValueError: If the kind is unknown, or cannot have that many channels.
    """

    kind: str
    channels: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"dense task: kind '{self.kind}' is not one of {', '.join(KINDS)}")
        fixed = CHANNELS.get(self.kind, self.channels)
        if self.channels != fixed or fixed < 1:
            raise ValueError(
                f"dense task: a map of kind '{self.kind}' cannot have {self.channels} channels"
            )


def build_tasks(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, DenseTask]:
    """Tasks from a configuration: name to ``dict(kind=..., channels=...)``.

    Raises:
        ValueError: If there are fewer than two.

    Example:
        >>> build_tasks(dict(seg=dict(kind='classes', channels=13), depth=dict(kind='depth', channels=1)))['depth']
        DenseTask(kind='depth', channels=1)
    """
    if len(tasks) < 2:
        raise ValueError(f"'tasks': a cross-task regulariser needs at least two, got {list(tasks)}")
    return {name: DenseTask(**task) for name, task in tasks.items()}


def dense_views(view: View, tasks: Mapping[str, DenseTask]) -> list[DenseView]:
    """The dense view of each task, in the tasks' order.

    Raises:
        KeyError: If a task has no dense view.
        ValueError: If one is of another kind, number of channels or raster than the tasks say.
    """
    missing = [name for name in tasks if name not in view.dense]
    if missing:
        raise KeyError(f'no dense view of task(s) {missing}; there are views of {list(view.dense)}')
    dense = [view.dense[name] for name in tasks]
    raster = dense[0].prediction.shape[-2:]
    for (name, task), own in zip(tasks.items(), dense, strict=True):
        shape = own.prediction.shape
        if (own.kind, shape[1]) != (task.kind, task.channels):
            raise ValueError(
                f"task '{name}': configured as {task.channels} channels of kind '{task.kind}', "
                f"its dense view has {shape[1]} of kind '{own.kind}'"
            )
        if shape[-2:] != raster or own.target.shape != shape:
            raise ValueError(
                f"task '{name}': prediction {tuple(shape)} and target {tuple(own.target.shape)}; "
                f'all maps must lie on one raster, here {tuple(raster)}'
            )
    return dense


def sample_classes(logits: Tensor, tau: float = 1.0) -> Tensor:
    """A one-hot class map drawn from logits, with the gradient of the soft one.

    Straight-through Gumbel softmax (Jang et al., 2017). The noise is finite by construction, so that
    nothing has to be drawn again.

    Args:
        logits: (B, C, H, W).
        tau: Temperature.

    Returns:
        (B, C, H, W), one-hot up to rounding.
    """
    tiny = torch.finfo(logits.dtype).tiny
    noise = -torch.empty_like(logits).exponential_().clamp_min(tiny).log()
    soft = ((logits + noise) / tau).softmax(dim=1)
    hard = torch.zeros_like(soft).scatter(1, soft.argmax(dim=1, keepdim=True), 1.0)
    return hard - soft.detach() + soft


def values_of(view: DenseView, tau: float = 1.0) -> Tensor:
    """A prediction in the terms of its target: (B, C, H, W).

    Classes are drawn (:func:`sample_classes`). Masks become probabilities: their targets may be soft
    (Gaussian bumps), they do not exclude each other, and they are so rare that a hard draw would show
    noise and no mask. Depth and normals stay as they are.
    """
    if view.kind == 'classes':
        return sample_classes(view.prediction, tau)
    return view.prediction.sigmoid() if view.kind == 'masks' else view.prediction
