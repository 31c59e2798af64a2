# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The three tasks of NYUv2: semantic segmentation, depth, surface normals."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet3d.registry import MODELS
from torch import Tensor

from ...supervision.scale_crop import NORMAL_EPS
from .head import DenseHead


@MODELS.register_module()
class NexusSegmentationHead(DenseHead):
    """Logits of exclusive classes; negative log-likelihood; labels ``gt_sem_seg``, -1 is ignored."""

    kind = 'classes'
    required_targets = ('gt_sem_seg',)
    term = 'nll'
    nothing = -1
    label_dtype = torch.int64

    @property
    def label_channels(self) -> int:
        """One: the class index."""
        return 1

    def pixel_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Negative log-likelihood of the true class."""
        return F.cross_entropy(prediction, target[:, 0].clamp(min=0), reduction='none')

    def as_channels(self, target: Tensor) -> Tensor:
        """One-hot; no class where the label is ignored."""
        classes = torch.arange(self.channels, device=target.device)
        return (target == classes[:, None, None]).float()

    def decode(self, prediction: Tensor) -> Tensor:
        """(B, 1, H, W) index of the likeliest class."""
        return prediction.argmax(dim=1, keepdim=True)


@MODELS.register_module()
class NexusDepthHead(DenseHead):
    """Depth in metres, without an activation; L1; labels ``gt_depth``, 0 is not valid."""

    kind = 'depth'
    required_targets = ('gt_depth',)
    term = 'l1'

    def pixel_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Absolute error, metres."""
        return (prediction - target)[:, 0].abs()

    def decode(self, prediction: Tensor) -> Tensor:
        """Metres, none of them negative."""
        return prediction.clamp(min=0)


@MODELS.register_module()
class NexusNormalHead(DenseHead):
    """Surface normals in the camera frame; 1 - cosine; labels ``gt_normal``, zero vectors are not valid.

    The published code divides by the vector's length without an epsilon, and takes vectors whose
    components sum to 0 for invalid; here a vector is invalid if its length is 0.
    """

    kind = 'normals'
    required_targets = ('gt_normal',)
    term = 'cosine'

    def activate(self, raw: Tensor) -> Tensor:
        """Unit vectors."""
        return F.normalize(raw, dim=1, eps=NORMAL_EPS)

    def valid(self, target: Tensor) -> Tensor:
        """Where the vector has a length."""
        return target.norm(dim=1, keepdim=True) > NORMAL_EPS

    def pixel_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """1 - cosine of the angle."""
        return 1 - (prediction * target).sum(dim=1)
