# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Features of a detector's submodules, read by forward hooks that exist only while a loss is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...flows.composite import Feature


@dataclass(frozen=True)
class Tap:
    """Where a task's feature is read.

    Attributes:
        module: Dotted name of the submodule whose output it is, 'roi_head.mask_head.convs.3'.
        output: Index or key into that output, if it is a tuple or a dictionary.
        call: Which call counts if the module is called several times in a forward pass: an index, or 'all' for a list
            of all of them (the levels of a pyramid).
        rois: For features with a row per region, dotted name of the module that is called with the regions, by
            ``(features, rois)``, the first column of ``rois`` being the image: a RoI extractor. The feature becomes
            a set per image.

    Raises:
        ValueError: If regions are asked for in all calls.
    """

    module: str
    output: int | str | None = None
    call: int | str = -1
    rois: str | None = None

    def __post_init__(self) -> None:
        if self.rois is not None and self.call == 'all':
            raise ValueError(
                f"tap '{self.module}': regions can be grouped by image for one call only; give 'call' as an index"
            )


@dataclass
class Record:
    """What a tap saw in one forward pass: outputs of its calls, and the images (R,) of the regions."""

    outputs: list[Any] = field(default_factory=list)
    images: list[Tensor] = field(default_factory=list)


@contextmanager
def recording(detector: nn.Module, taps: Mapping[str, Tap]) -> Iterator[dict[str, Record]]:
    """Record the taps of what is run inside; the hooks are gone afterwards.

    Args:
        detector: The module that the names belong to.
        taps: Taps by any name.

    Yields:
        What each tap saw so far, by the same names.
    """
    records = {name: Record() for name in taps}
    handles = []
    try:
        for name, tap in taps.items():
            seen = records[name]

            def keep_output(_: nn.Module, __: tuple, output: Any, seen: Record = seen) -> None:
                seen.outputs.append(output)

            def keep_images(_: nn.Module, args: tuple, kwargs: dict, seen: Record = seen) -> None:
                rois = kwargs['rois'] if 'rois' in kwargs else args[1]
                seen.images.append(rois[:, 0].long())

            handles.append(detector.get_submodule(tap.module).register_forward_hook(keep_output))
            if tap.rois is not None:
                extractor = detector.get_submodule(tap.rois)
                handles.append(extractor.register_forward_pre_hook(keep_images, with_kwargs=True))
        yield records
    finally:
        for handle in handles:
            handle.remove()


def read(task: str, name: str, tap: Tap, record: Record, rows: int) -> Feature:
    """The feature of a task, rows are samples.

    Args:
        task: Name of the task, for errors.
        name: Name of the tap, for errors.
        tap: The tap.
        record: What the tap saw.
        rows: Number B of samples.

    Returns:
        (B, ...); a list of such tensors for ``call='all'``; or, for regions, 'feature' (B, N, C) and
        'padding_mask' (B, N), which is true where an image has no Nth region.

    Raises:
        RuntimeError: If the module was not called, or the number of rows does not fit.
    """
    where = f"task '{task}', {name} '{tap.module}'"
    if not record.outputs:
        raise RuntimeError(f"{where}: the module was not called in mode 'loss'; tap one that is")
    outputs = record.outputs
    if tap.output is not None:
        outputs = [output[tap.output] for output in outputs]
    if tap.rois is not None:
        images = record.images[tap.call] if record.images else None
        if images is None or len(images) != len(outputs[tap.call]):
            raise RuntimeError(
                f"{where}: {len(outputs[tap.call])} rows, but '{tap.rois}' was called with "
                f'{"no" if images is None else len(images)} regions; name the extractor that feeds it'
            )
        return as_sets(outputs[tap.call], images, rows)
    picked = outputs if tap.call == 'all' else [outputs[tap.call]]
    for output in picked:
        if not isinstance(output, Tensor) or len(output) != rows:
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise RuntimeError(
                f"{where}: {found} for {rows} samples, but the first dimension must be the sample. Use 'output' to "
                "pick a tensor and 'rois' for a row per region"
            )
    return list(picked) if tap.call == 'all' else picked[0]


def as_sets(feature: Tensor, images: Tensor, batch: int) -> dict[str, Tensor]:
    """Group rows by image.

    Args:
        feature: (R, C) or (R, C, h, w); places are averaged.
        images: (R,), the image of each row.
        batch: Number B of images.

    Returns:
        'feature' (B, N, C), filled up with zeros, and 'padding_mask' (B, N); N is the largest number of rows of an
        image, and at least 1.

    Example:
        >>> sets = as_sets(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 2, 0]), 3)
        >>> sets['feature'][..., 0].tolist()
        [[1.0, 3.0], [0.0, 0.0], [2.0, 0.0]]
        >>> sets['padding_mask'].tolist()
        [[False, False], [True, True], [False, True]]
    """
    if feature.ndim > 2:
        feature = feature.flatten(2).mean(dim=2)
    counts = torch.bincount(images, minlength=batch)
    order = torch.argsort(images, stable=True)
    images = images[order]
    place = torch.arange(len(images), device=images.device) - (counts.cumsum(0) - counts)[images]
    size = max(1, int(counts.max()))
    sets = feature.new_zeros(batch, size, feature.shape[1])
    sets = sets.index_put((images, place), feature[order])
    return dict(
        feature=sets,
        padding_mask=torch.arange(size, device=counts.device) >= counts[:, None],
    )


def join(parts: Sequence[Feature], order: Tensor) -> Feature:
    """One feature of a batch from those of its sub-batches.

    Args:
        parts: The feature of each sub-batch, as :func:`read` returns it.
        order: (B,), for each sample of the batch its row in the concatenated sub-batches.

    Returns:
        Rows are the samples of the batch.
    """
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts))[order]
    if isinstance(first, list):
        return [join(level, order) for level in zip(*parts, strict=True)]
    size = max(part['padding_mask'].shape[1] for part in parts)
    missing = [size - part['padding_mask'].shape[1] for part in parts]
    padded = [
        dict(
            feature=F.pad(part['feature'], (0, 0, 0, more)),
            padding_mask=F.pad(part['padding_mask'], (0, more), value=True),
        )
        for part, more in zip(parts, missing, strict=True)
    ]
    return {name: join([part[name] for part in padded], order) for name in first}
