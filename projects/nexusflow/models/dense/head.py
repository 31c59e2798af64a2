# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What all dense heads have in common; a new task is one small class upon it.

Losses are the published ones (MTAN, MTPSL, JTR, LibMTL), computed per sample: an error per pixel, its
mean over the sample's valid pixels. A sample without any valid pixel has loss 0, where the published
code divides 0 by 0.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...supervision.segnet import xavier


class DenseHead(BaseModule):
    """A 3x3 and a 1x1 convolution, without an activation in between, as published.

    A task is defined by four class attributes and by :meth:`pixel_loss`; the other methods do what most
    tasks need.

    Attributes:
        kind: What the channels are, one of :data:`nexusflow.supervision.view.KINDS`.
        required_targets: The field of the data samples that holds the labels, as a tuple of one.
        term: Last part of the loss's name.
        nothing: The value of a pixel without a label.

    Args:
        in_channels: Channels of the trunk's features; the detector fills it in.
        channels: Channels of the prediction.
        weight: Factor of the loss.
        init_cfg: mmengine's weight initialisation; by default Xavier-normal weights.
    """

    kind: ClassVar[str]
    required_targets: ClassVar[tuple[str]]
    term: ClassVar[str]
    nothing: ClassVar[float] = 0.0
    label_dtype: ClassVar[torch.dtype] = torch.float32

    def __init__(
        self, in_channels: int, channels: int, weight: float = 1.0, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.channels, self.weight = channels, weight
        self.feature = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.output = nn.Conv2d(in_channels, channels, 1)
        xavier(self)

    @property
    def label_channels(self) -> int:
        """Channels of the labels as the data set has them."""
        return self.channels

    def forward(self, features: Tensor, size_hw: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Predict.

        Args:
            features: (B, in_channels, h, w) of the trunk.
            size_hw: Height and width of the images; a coarser prediction is enlarged to it.

        Returns:
            The head's own feature (B, in_channels, h, w), tap 'feature' of a view, and the prediction
            (B, channels, H, W) in single precision.
        """
        feature = self.feature(features)
        raw = self.output(feature).float()
        if raw.shape[-2:] != tuple(size_hw):
            raw = F.interpolate(raw, tuple(size_hw), mode='bilinear', align_corners=False)
        return feature, self.activate(raw)

    def activate(self, raw: Tensor) -> Tensor:
        """What is predicted, from the last convolution's output; by default that itself."""
        return raw

    def valid(self, target: Tensor) -> Tensor:
        """Boolean (B, 1, H, W): where labels (B, C, H, W) mean something."""
        return (target != self.nothing).all(dim=1, keepdim=True)

    def loss(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Loss of each sample.

        Args:
            prediction: (B, channels, H, W).
            target: (B, C, H, W) labels.
            valid: Boolean (B, 1, H, W).

        Returns:
            (B,), mean of :meth:`pixel_loss` over the valid pixels; 0 where there are none.
        """
        error = self.pixel_loss(prediction, target)[:, None]
        error = torch.where(valid, error, torch.zeros_like(error)).flatten(1).sum(dim=1)
        return self.weight * error / valid.flatten(1).sum(dim=1).clamp(min=1)

    @abstractmethod
    def pixel_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Loss (B, H, W) of each pixel; must be finite where the labels are not valid, too."""

    def as_channels(self, target: Tensor) -> Tensor:
        """Labels in the prediction's channels, (B, channels, H, W) float; by default as they are."""
        return target

    def decode(self, prediction: Tensor) -> Tensor:
        """What a data sample keeps of a prediction (B, channels, H, W); by default all of it."""
        return prediction
