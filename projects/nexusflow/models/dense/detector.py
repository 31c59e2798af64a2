# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""N dense tasks on one trunk, from images that are labelled for some of the tasks only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor, nn

from ...supervision.masking import label_mask, masked_mean
from ...supervision.scale_crop import crop_image, draw_crops
from ...supervision.view import KINDS, View
from .targets import crop_targets, dense_views, stack_targets


class _Outputs(NamedTuple):
    """Of B images: the bottleneck, and the heads' features and predictions by task."""

    bottleneck: Tensor
    features: dict[str, Tensor]
    predictions: dict[str, Tensor]

    def rows(self, of: slice) -> _Outputs:
        """Those of some of the images."""
        features, predictions = (
            {task: tensor[of] for task, tensor in part.items()} for part in self[1:]
        )
        return _Outputs(self.bottleneck[of], features, predictions)


@MODELS.register_module()
class NexusDenseDetector(BaseModel):
    """Encoder-decoder trunk, a head a task, and a cross-task regulariser.

    A task is a name and a head: the data samples' ``tasks`` use the same names. Every head is forwarded
    for every image. The loss of a task is the sum over the images that are labelled for it, divided by
    the batch size (not by their number), as published: an image with two labels weighs twice.

    A regulariser that asks for ``extra_views`` gets scale-crops of the batch; all views go through the
    network as one batch, and the supervised losses see the first one only.

    Args:
        trunk: :class:`NexusSegNet` or :class:`NexusEncoderDecoder`.
        heads: Task to its head.
        regulariser: Cross-task regulariser; absent at inference, and a checkpoint without it loads.
        view_stride: A regulariser's maps of predictions and labels hold every n-th pixel.
        data_preprocessor: Data preprocessor.
        init_cfg: mmengine's weight initialisation.

    Raises:
        ValueError: A head does not say what its channels are.
    """

    def __init__(
        self,
        trunk: dict,
        heads: Mapping[str, dict],
        regulariser: dict | None = None,
        view_stride: int = 1,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        preprocessor = MODELS.build(data_preprocessor or dict(type='NexusDensePreprocessor'))
        super().__init__(preprocessor, init_cfg)
        self.trunk = MODELS.build(trunk)
        width = self.trunk.out_channels
        self.heads = nn.ModuleDict(
            {
                task: MODELS.build(h, default_args=dict(in_channels=width))
                for task, h in heads.items()
            }
        )
        for task, head in self.heads.items():
            if getattr(head, 'kind', None) not in KINDS:
                raise ValueError(
                    f"task '{task}': its head {type(head).__name__} has no kind out of {KINDS}; derive"
                    ' it from DenseHead and set its class attributes'
                )
        self.view_stride = view_stride
        self.regulariser = None
        if regulariser:
            # the detector's own weights start the same with and without a regulariser
            with torch.random.fork_rng(devices=[]):
                self.regulariser = MODELS.build(regulariser, default_args=dict(channels=width))

    def forward(
        self, inputs: dict, data_samples: list | None = None, mode: str = 'tensor'
    ) -> object:
        """Mmengine's entry point.

        Args:
            inputs: 'img' (B, 3, H, W), RGB.
            data_samples: B samples.
            mode: 'loss', 'predict' or 'tensor'.

        Returns:
            Losses; the samples with predictions; or the predictions by task, (B, C, H, W).
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self._run(inputs['img']).predictions
        raise ValueError(f"mode '{mode}' is not one of loss, predict, tensor")

    def _run(self, images: Tensor) -> _Outputs:
        """Trunk and heads."""
        trunk = self.trunk(images)
        both = {task: head(trunk.features, images.shape[-2:]) for task, head in self.heads.items()}
        features, predictions = ({task: pair[k] for task, pair in both.items()} for k in (0, 1))
        return _Outputs(trunk.bottleneck, features, predictions)

    def loss(self, inputs: dict, data_samples: list) -> dict[str, Tensor]:
        """Losses of all heads on the samples labelled for them, and of the regulariser on all."""
        images, batch = [inputs['img']], len(data_samples)
        targets = [stack_targets(self.heads, data_samples, images[0])]
        for _ in range(getattr(self.regulariser, 'extra_views', 0)):
            crops = draw_crops(batch, tuple(images[0].shape[-2:]), device=images[0].device)
            images.append(crop_image(images[0], crops))
            targets.append(crop_targets(self.heads, targets[0], crops))
        outputs = self._run(torch.cat(images))
        views = [outputs.rows(slice(k * batch, (k + 1) * batch)) for k in range(len(images))]
        losses = self._supervised(views[0].predictions, targets[0], data_samples)
        if self.regulariser is not None:
            pairs = zip(views, targets, strict=True)
            seen = [self._view(view, target, data_samples) for view, target in pairs]
            losses.update(self.regulariser(seen, data_samples))
        return losses

    def _supervised(
        self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor], samples: Sequence
    ) -> dict[str, Tensor]:
        """The loss of each task, summed over its labelled samples, divided by the batch size."""
        losses = {}
        for task, head in self.heads.items():
            target, prediction = targets[task], predictions[task]
            each = head.loss(prediction, target, head.valid(target))
            labelled = label_mask([sample.tasks for sample in samples], task, each.device)
            count = each.new_tensor(len(samples))
            losses[f'loss_{task}_{head.term}'] = masked_mean(each, labelled, count)
        return losses

    def _view(self, outputs: _Outputs, targets: Mapping[str, Tensor], samples: Sequence) -> View:
        """What the regulariser may look at."""
        features = {task: dict(feature=feature) for task, feature in outputs.features.items()}
        dense = {}
        if getattr(self.regulariser, 'needs_dense', False):
            every = (..., slice(None, None, self.view_stride), slice(None, None, self.view_stride))
            predictions, labels = (
                {task: tensor[every] for task, tensor in maps.items()}
                for maps in (outputs.predictions, targets)
            )
            dense = dense_views(self.heads, predictions, labels, samples)
        return View(features, shared=outputs.bottleneck, dense=dense)

    @torch.no_grad()
    def predict(self, inputs: dict, data_samples: list) -> list:
        """Fill in the predictions.

        Returns:
            The samples, in order; for labels ``gt_<name>`` of a head with ``pred_<name>``.
        """
        predictions = self._run(inputs['img']).predictions
        for task, head in self.heads.items():
            name = head.required_targets[0].replace('gt_', 'pred_', 1)
            for sample, found in zip(data_samples, head.decode(predictions[task]), strict=True):
                sample.set_field(PixelData(data=found), name)
        return data_samples
