# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What a cross-task regulariser may look at: the tasks' features, and their dense predictions and labels.

All regularisers (NexusFlow, MTPSL, JTR, ...) are modules
``forward(views: Sequence[View], samples) -> {name: loss or statistic}``, so that they are exchanged by
one configuration key. ``views[0]`` is what the supervised losses saw; a regulariser that asks for
``extra_views`` finds further, geometrically augmented views of the same samples behind it where the
model can make them, and the same view alone where it cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

__all__ = ['KINDS', 'DenseView', 'View']

KINDS = ('classes', 'masks', 'depth', 'normals')


@dataclass(frozen=True)
class DenseView:
    """A task's prediction and its labels as rasters on the same pixels.

    Attributes:
        kind: What the channels are: 'classes', logits of exclusive classes; 'masks', logits of
            independent masks; 'depth', metres, one channel; 'normals', unit vectors, three channels.
        prediction: (B, C, H, W), the head's output, with its graph.
        target: (B, C, H, W): one-hot classes, masks in [0, 1], metres, or unit vectors; 0 where it is
            not valid, and for samples that are not labelled.
        valid: Boolean (B, 1, H, W): where the target means something.
        labelled: Boolean (B,): which samples are labelled for the task.

    Raises:
        ValueError: If ``kind`` is not one of ``KINDS``.
    """

    kind: str
    prediction: Tensor
    target: Tensor
    valid: Tensor
    labelled: Tensor

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"dense view: kind '{self.kind}' is not one of {', '.join(KINDS)}")


@dataclass(frozen=True)
class View:
    """One view of B samples.

    Attributes:
        features: Task to the features of its head by tap, rows are samples: (B, ...).
        shared: (B, C, H, W), the feature of the encoder that the tasks share; None if unknown.
        dense: Task to its dense view; empty unless a regulariser says ``needs_dense``.
    """

    features: Mapping[str, Mapping[str, Tensor]]
    shared: Tensor | None = None
    dense: Mapping[str, DenseView] = field(default_factory=dict)
