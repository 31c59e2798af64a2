# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What dense heads stand on: an encoder-decoder that all tasks share."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn


class Trunk(NamedTuple):
    """What a trunk gives; it also has an attribute ``out_channels``.

    Attributes:
        features: (B, out_channels, h, w), what the heads read; any resolution.
        bottleneck: (B, C, h', w'), the encoder's last feature: the shared one of a view.
    """

    features: Tensor
    bottleneck: Tensor


@MODELS.register_module()
class NexusEncoderDecoder(BaseModule):
    """Any backbone and neck of the family, with mmsegmentation's two keys.

    Args:
        backbone: Gives a list of features, the finest first, e.g. ``mmdet.ResNet``.
        neck: Takes that list and gives one whose first item is decoded; e.g.
            :class:`NexusTopDownNeck`, ``mmdet.FPN`` or ``SECONDFPN``.
        out_channels: Channels of that item; the neck's attribute ``out_channels`` if not given.
        init_cfg: mmengine's weight initialisation.

    Raises:
        ValueError: The channels are unknown.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        out_channels: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck)
        found = getattr(self.neck, 'out_channels', None) if out_channels is None else out_channels
        if not isinstance(found, int):
            raise ValueError(
                f"NexusEncoderDecoder: neck '{neck['type']}' does not say how many channels its first"
                " output has; set 'out_channels'"
            )
        self.out_channels = found

    def forward(self, images: Tensor) -> Trunk:
        """(B, 3, H, W) -> the decoded feature and the backbone's last one."""
        levels = self.backbone(images)
        return Trunk(self.neck(levels)[0], levels[-1])


@MODELS.register_module()
class NexusTopDownNeck(BaseModule):
    """A light decoder: from the coarsest level up, each finer one is added (Lin et al., arXiv 1612.03144).

    All levels become equally wide by 1x1 convolutions; only the finest sum is smoothed.

    Args:
        in_channels: Channels of the levels, the finest first.
        out_channels: Channels of the result.
        init_cfg: mmengine's weight initialisation.
    """

    def __init__(
        self, in_channels: list[int], out_channels: int, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.lateral = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in in_channels)
        self.smooth = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )
        self.out_channels = out_channels

    def forward(self, levels: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Levels (B, C_i, h_i, w_i) -> one feature (B, out_channels, h_0, w_0)."""
        laterals = [conv(level) for conv, level in zip(self.lateral, levels, strict=True)]
        x = laterals.pop()
        while laterals:
            finer = laterals.pop()
            x = finer + F.interpolate(x, finer.shape[-2:], mode='bilinear', align_corners=False)
        return (self.smooth(x),)
