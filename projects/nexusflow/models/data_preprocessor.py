# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""From a collated batch of clips to tensors on the model's device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseDataPreprocessor


@MODELS.register_module()
class NexusDataPreprocessor(BaseDataPreprocessor):
    """Stack and normalise the images of clips; give each clip its list of samples.

    Args:
        mean: RGB mean in 0 to 255.
        std: RGB standard deviation.
    """

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
    ) -> None:
        super().__init__()
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch.

        Args:
            data: 'inputs': {'img': B tensors (T, N, 3, H, W) uint8}, 'data_samples': T lists of B samples, as
                mmengine's pseudo_collate makes them.
            training: Not used; part of mmengine's interface.

        Returns:
            'inputs': {'img': (B, T, N, 3, H, W) float}, 'data_samples': B lists of T samples.
        """
        data = self.cast_data(data)
        images = torch.stack(list(data['inputs']['img'])).float()
        images = (images - self.mean) / self.std
        clips = [list(clip) for clip in zip(*data['data_samples'], strict=True)]
        return dict(inputs=dict(img=images), data_samples=clips)
