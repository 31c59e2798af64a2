# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Hide the labels that a sample must not be trained on, before its detector sees them.

A detector computes the losses of all its heads and therefore wants all labels. A label field that is hidden holds
zeros, or no instance at all; the losses that come of it are thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from torch import Tensor

PLACEHOLDERS: dict[str, Callable[[int, tuple[int, int]], Any]] = {
    'bboxes': lambda count, _: torch.zeros(count, 4),
    'labels': lambda count, _: torch.zeros(count, dtype=torch.long),
    'masks': lambda count, size: BitmapMasks(np.zeros((count, *size), dtype=np.uint8), *size),
    'sem_seg': lambda _, size: torch.zeros((1, *size), dtype=torch.uint8),
}
"""Field that a sample may lack -> function (number of instances, (height, width)) that makes it."""

CONTAINERS: dict[str, tuple[type[BaseDataElement], tuple[str, ...]]] = {
    'gt_instances': (InstanceData, ('bboxes', 'labels')),
    'gt_sem_seg': (PixelData, ('sem_seg',)),
}
"""Container that a sample may lack -> its type and the fields that detectors read."""


def hide(sample: BaseDataElement, fields: Collection[str]) -> BaseDataElement:
    """A copy of a sample without some of its labels.

    Args:
        sample: A data sample; it is not changed.
        fields: What is hidden: 'gt_instances' (no instance is left), 'gt_sem_seg' (zeros), or one field of a
            container, 'gt_instances.masks' (zeros, the instances stay). Fields that the sample lacks are made up,
            where this module knows how.

    Returns:
        A shallow copy.

    Raises:
        ValueError: If a field is missing, or of a type, that it does not know how to make up.
    """
    out = sample.clone()
    for path in sorted(fields):
        container, _, name = path.partition('.')
        try:
            held = out.get(container)
            held = _hide_field(held, name, out) if name else _hide_all(held, container, out)
        except (KeyError, TypeError, AttributeError) as error:
            identity = next(
                (sample.get(k) for k in ('img_path', 'token', 'img_id') if k in sample), '?'
            )
            raise ValueError(
                f"sample {identity}: '{path}' is to be hidden but cannot be made up ({error}); let the data "
                'pipeline fill in any value, it is not trained on'
            ) from error
        setattr(out, container, held)
    return out


def _hide_all(held: BaseDataElement | None, container: str, sample: BaseDataElement) -> Any:
    """A container without information: no instances, or pixels of zeros."""
    kind, names = CONTAINERS[container] if held is None else (type(held), ())
    if issubclass(kind, PixelData):
        values = {} if held is None else {name: _zeros(value, 0) for name, value in held.items()}
    elif issubclass(kind, InstanceData):
        values = {} if held is None else dict(held[:0].items())
        names = CONTAINERS.get(container, (kind, ()))[1]
    else:
        raise TypeError(f'{kind.__name__} is neither instances nor pixels')
    for name in names:
        if name not in values:
            values[name] = PLACEHOLDERS[name](0, tuple(sample.img_shape[:2]))
    return kind(**values)


def _hide_field(held: BaseDataElement, name: str, sample: BaseDataElement) -> BaseDataElement:
    """A container with zeros in one of its fields."""
    out = held.clone()
    count = len(held) if isinstance(held, InstanceData) else 0
    if name in held:
        setattr(out, name, _zeros(held.get(name), count))
    else:
        setattr(out, name, PLACEHOLDERS[name](count, tuple(sample.img_shape[:2])))
    return out


def _zeros(value: Any, count: int) -> Any:
    """Zeros of the same kind."""
    if isinstance(value, Tensor):
        return torch.zeros_like(value)
    if isinstance(value, np.ndarray):
        return np.zeros_like(value)
    if isinstance(value, BitmapMasks | PolygonMasks):
        return PLACEHOLDERS['masks'](count, (value.height, value.width))
    raise TypeError(f'zeros of type {type(value).__name__}')
