# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Labels of a batch as tensors, and what a regulariser may see of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...supervision.masking import label_mask
from ...supervision.scale_crop import ScaleCrops, crop_target
from ...supervision.view import DenseView
from .head import DenseHead

Heads = Mapping[str, DenseHead]


def stack_targets(heads: Heads, samples: Sequence, images: Tensor) -> dict[str, Tensor]:
    """Labels of all tasks.

    Args:
        heads: Task to its head.
        samples: B data samples.
        images: (B, 3, H, W), for size and device.

    Returns:
        Task to labels (B, C, H, W). A sample that is not labelled for a task has no valid pixel,
        whatever it brings along.

    Raises:
        KeyError: A sample lacks the labels of a task that it is labelled for.
        ValueError: Labels differ from the images in size.
    """
    return {
        task: torch.stack([_target_of(head, task, sample, images) for sample in samples])
        for task, head in heads.items()
    }


def _target_of(head: DenseHead, task: str, sample: object, images: Tensor) -> Tensor:
    """Labels (C, H, W) of one sample for one task, on the device of the images."""
    shape = (head.label_channels, *images.shape[-2:])
    if task not in sample.tasks:
        return torch.full(shape, head.nothing, dtype=head.label_dtype, device=images.device)
    (field,) = head.required_targets
    if field not in sample:
        raise KeyError(
            f"sample '{sample.token}' is labelled for task '{task}' but has no '{field}'; add it to"
            ' the targets of NexusPackDense, or leave the task out of the tasks'
        )
    data = sample.get(field).data
    if tuple(data.shape) != shape:
        raise ValueError(
            f"sample '{sample.token}': '{field}' has shape {tuple(data.shape)}, task '{task}' needs"
            f' {shape}; put the same resize on images and labels'
        )
    return data.to(images.device, head.label_dtype)


def crop_targets(heads: Heads, targets: Mapping[str, Tensor], crops: ScaleCrops) -> dict:
    """The labels in the windows of a scale-crop."""
    return {task: crop_target(heads[task].kind, target, crops) for task, target in targets.items()}


def dense_views(
    heads: Heads,
    predictions: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    samples: Sequence,
) -> dict[str, DenseView]:
    """Predictions and labels of all tasks as regularisers want them; see :class:`DenseView`."""
    views = {}
    for task, head in heads.items():
        valid = head.valid(targets[task])
        target = head.as_channels(targets[task])
        labelled = label_mask([s.tasks for s in samples], task, valid.device)
        views[task] = DenseView(
            kind=head.kind,
            prediction=predictions[task],
            target=torch.where(valid, target, torch.zeros_like(target)),
            valid=valid,
            labelled=labelled,
        )
    return views
