# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""SegNet as MTAN and its successors use it: one encoder and decoder for all tasks, heads at the end."""

from __future__ import annotations

from collections.abc import Sequence

from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...supervision.segnet import WIDTHS, SegNetDecoder, SegNetEncoder, xavier
from .trunk import Trunk


@MODELS.register_module()
class NexusSegNet(BaseModule):
    """SegNet trunk, MTAN's "split" network: the batch is normalised, training starts from scratch.

    Args:
        widths: Channels of the encoder's stages; each halves the resolution.
        convs: Convolutions of the stages, of the encoder and of the decoder; the published ones if not given.
        init_cfg: mmengine's weight initialisation; by default Xavier-normal weights.
    """

    def __init__(
        self,
        widths: Sequence[int] = WIDTHS,
        convs: Sequence[int] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.encoder = SegNetEncoder(3, widths, convs, nn.BatchNorm2d)
        self.decoder = SegNetDecoder(None, widths, convs, nn.BatchNorm2d)
        self.out_channels = widths[0]
        xavier(self)

    def forward(self, images: Tensor) -> Trunk:
        """(B, 3, H, W) -> features (B, widths[0], H, W), bottleneck (B, widths[-1], h, w)."""
        bottleneck, pools = self.encoder(images)
        return Trunk(self.decoder(bottleneck, pools), bottleneck)
