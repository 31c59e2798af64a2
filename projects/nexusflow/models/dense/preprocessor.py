# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""From a collated batch of single images to tensors on the model's device."""

from __future__ import annotations

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseDataPreprocessor


@MODELS.register_module()
class NexusDensePreprocessor(BaseDataPreprocessor):
    """Stack the images; their values in [0, 1] stay, as published."""

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch.

        Args:
            data: 'inputs': {'img': B tensors (3, H, W) float}, 'data_samples': B samples, as mmengine's
                pseudo_collate makes them.
            training: Not used; part of mmengine's interface.

        Returns:
            'inputs': {'img': (B, 3, H, W)}, 'data_samples': the B samples.

        Raises:
            ValueError: The images differ in size.
        """
        data = self.cast_data(data)
        images = data['inputs']['img']
        sizes = {tuple(image.shape) for image in images}
        if len(sizes) > 1:
            raise ValueError(
                f'images of a batch differ in size: {sorted(sizes)}; put NexusDenseResize into the'
                ' pipeline'
            )
        return dict(inputs=dict(img=torch.stack(list(images))), data_samples=data['data_samples'])
