# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""JTR: joint-task regularisation in the latent space of an autoencoder of all task maps.

Nishi, Kim, Li and Pfister, "Joint-Task Regularization for Partially Labeled Multi-Task Learning", CVPR
2024. All maps of a sample are stacked: Y_hat the predictions; Y the labels where there are any, else the
predictions. An encoder-decoder g reads both, in two views:

    L_Dist = [1 - cos(g(Y_1), g(Y_hat_1))] + w_r [1 - cos(g(Y_2), g(Y_hat_2))],  cosine over channels
    L_Recon: the decoder gives back Y_2 and Y_hat_2; cross entropy of classes and masks, L1 of depth behind
        a sigmoid, one minus the cosine of normals
    L = (4 L_Dist + 2 L_Recon) / B per sample, w_r = 2, the weight of L_Recon

What learns from what: predictions of labelled tasks are detached, so the model learns only through those
of unlabelled tasks, in Y and in Y_hat. View 1 trains the model alone (g's parameters are detached), view
2 trains g alone (its inputs are). Masks: the pixels that are valid for all labelled tasks are kept in every
prediction and in L_Recon; a label keeps its own valid pixels. Depth enters as its normal cumulative
distribution (mean 2.3618 m, deviation 1.5876 m of NYUv2's training set), a normal n as (n + 1) / 2, both
after masking, classes as a straight-through Gumbel draw; in Y_hat_2 labelled classes are soft.

The last two views are read. A model that makes only one view gives it for both (see
:mod:`nexusflow.supervision.mtpsl`).

What differs from the published code, and why:

- Depth of Y_hat_2 is reconstructed as it entered; the published target went through the distribution twice.
- Normals of Y_hat_2 are reconstructed as unit vectors; the published target lay in [0, 1].
- Reconstruction errors are divided by the mask's pixels (at least one). They were divided by the target's
  non-zero components, three a pixel for normals, so that perfect normals cost 2/3, and by pixels outside
  of the mask.
- Unlabelled classes are one draw in Y and Y_hat; two draws have a distance that no training can remove.
- A sample without labels has distance 0 and teaches the model nothing; published partitions have none.
- View 1 calls g with detached parameters instead of a deep copy; the unused normalisation of the input is
  gone; the normalisation inside is by image, as it was (:mod:`nexusflow.supervision.segnet`).
- Normals are judged by their direction, so an output of length 0 is no division by 0.
- ``masks`` is a kind of our own: probabilities in, cross entropy out, like classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from .dense_tasks import build_tasks, dense_views, values_of
from .mtpsl import cosine_distance
from .segnet import WIDTHS, SegNetDecoder, SegNetEncoder, xavier
from .view import DenseView, View

__all__ = ['JTR']


@dataclass(frozen=True)
class TaskMaps:
    """A task's maps (B, C, H, W) in the terms of its target, as they go into the stacks.

    Attributes:
        kind: Of the task.
        target: Labels where there are any, else predictions: what is reconstructed of Y.
        prediction: Predictions; detached where there are labels; what is reconstructed of Y_hat.
        soft: Predictions with probabilities for the classes of labelled tasks.
        labelled: Boolean (B, 1, 1, 1).
    """

    kind: str
    target: Tensor
    prediction: Tensor
    soft: Tensor
    labelled: Tensor


class JTR(nn.Module):
    """Joint-task regularisation.

    Args:
        tasks: Name to ``dict(kind=..., channels=...)``.
        widths: Channels of g's stages.
        depths: Convolutions of its stages; the published ones if not given.
        distance_weight: Factor of L_Dist.
        recon_weight: Factor of L_Recon, and of view 2 within L_Dist.
        depth_mean: Mean of depth, metres.
        depth_std: Standard deviation of depth, metres.
        tau: Temperature of drawn classes.
    """

    extra_views = 2
    needs_dense = True

    def __init__(
        self,
        tasks: Mapping[str, Mapping[str, Any]],
        widths: Sequence[int] = WIDTHS,
        depths: Sequence[int] | None = None,
        distance_weight: float = 4.0,
        recon_weight: float = 2.0,
        depth_mean: float = 2.3618,
        depth_std: float = 1.5876,
        tau: float = 1.0,
    ) -> None:
        super().__init__()
        self.tasks = build_tasks(tasks)
        self.distance_weight, self.recon_weight, self.tau = distance_weight, recon_weight, tau
        self.depth_mean, self.depth_std = depth_mean, depth_std
        channels = sum(task.channels for task in self.tasks.values())
        self.encoder = SegNetEncoder(channels, widths, depths)
        self.decoder = SegNetDecoder(channels, widths, depths)
        xavier(self)

    def forward(self, views: Sequence[View], samples: object = None) -> dict[str, Tensor]:
        """Pull the stacked maps together, and train the autoencoder.

        Args:
            views: Views of B samples with ``dense``; the last two are read, or the only one twice.
            samples: The data samples; not needed, the dense views know what is labelled.

        Returns:
            ``loss_jtr_distance``, ``loss_jtr_recon``, and ``jtr_distance``, the mean distance in view 1.
        """
        first = dense_views(views[-2:][0], self.tasks)
        second = dense_views(views[-1], self.tasks)
        labelled = torch.stack([own.labelled for own in first]).any(dim=0)
        near = torch.where(labelled, self.model_distance(first), 0.0)
        apart, recon = self.network_losses(second)
        apart = torch.where(labelled, apart, 0.0)
        distance = near + self.recon_weight * apart
        return {
            'loss_jtr_distance': self.distance_weight * distance.mean(),
            'loss_jtr_recon': self.recon_weight * recon.mean(),
            'jtr_distance': near.detach().mean(),
        }

    def model_distance(self, dense: Sequence[DenseView]) -> Tensor:
        """Distance (B,) of the two stacks of view 1; its gradients reach the model alone."""
        maps, mask = self._maps(dense), _joint_mask(dense)
        stacks = self._stacks(maps, [own.prediction for own in maps], mask)
        frozen = {name: value.detach() for name, value in self.encoder.named_parameters()}
        latent, _ = functional_call(self.encoder, frozen, (torch.cat(stacks),))
        return cosine_distance(*latent.chunk(2))

    def network_losses(self, dense: Sequence[DenseView]) -> tuple[Tensor, Tensor]:
        """Distance and reconstruction error (B,) of view 2; their gradients reach g alone."""
        with torch.no_grad():
            maps, mask = self._maps(dense), _joint_mask(dense)
            stacks = self._stacks(maps, [own.soft for own in maps], mask)
        latent, pools = self.encoder(torch.cat(stacks))
        decoded = self.decoder(latent, pools)
        channels = [task.channels for task in self.tasks.values()]
        error = torch.zeros_like(decoded[:, :1])
        for own, output in zip(maps, decoded.split(channels, dim=1), strict=True):
            error = error + self._recon_error(
                own.kind, output, torch.cat([own.target, own.prediction])
            )
        pixels = mask.flatten(1).sum(dim=1).clamp(min=1)
        # where: what is not valid may be anything
        error = torch.where(mask.repeat(2, 1, 1, 1), error, 0.0).flatten(1).sum(dim=1)
        return cosine_distance(*latent.chunk(2)), sum(error.chunk(2)) / pixels

    def _maps(self, dense: Sequence[DenseView]) -> list[TaskMaps]:
        """What each task puts into the stacks."""
        maps = []
        for own in dense:
            labelled = own.labelled[:, None, None, None]
            values = values_of(own, self.tau)
            prediction = torch.where(labelled, values.detach(), values)
            target = torch.where(labelled, own.target, prediction)
            soft = prediction
            if own.kind == 'classes':
                soft = torch.where(labelled, own.prediction.detach().softmax(dim=1), prediction)
            maps.append(TaskMaps(own.kind, target, prediction, soft, labelled))
        return maps

    def _stacks(
        self, maps: Sequence[TaskMaps], shown: Sequence[Tensor], mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Y and Y_hat, (B, sum of channels, H, W); ``shown``: the predictions in Y_hat."""
        joint, predicted = [], []
        for own, prediction in zip(maps, shown, strict=True):
            # a label is 0 where it is not valid
            target = torch.where(own.labelled, own.target, own.target * mask)
            joint.append(self._network_input(own.kind, target))
            predicted.append(self._network_input(own.kind, prediction * mask))
        return torch.cat(joint, dim=1), torch.cat(predicted, dim=1)

    def _network_input(self, kind: str, values: Tensor) -> Tensor:
        """A map as g reads it, in [0, 1]."""
        if kind == 'depth':
            share: Tensor = torch.special.ndtr((values - self.depth_mean) / self.depth_std)
            return share
        return (values + 1) / 2 if kind == 'normals' else values

    def _recon_error(self, kind: str, output: Tensor, target: Tensor) -> Tensor:
        """Error of each pixel, (B, 1, H, W)."""
        if kind == 'depth':
            return (output.sigmoid() - self._network_input(kind, target)).abs()
        if kind == 'normals':
            return 1 - (F.normalize(output, dim=1) * target).sum(dim=1, keepdim=True)
        error = F.binary_cross_entropy_with_logits(output, target, reduction='none')
        return error.sum(dim=1, keepdim=True)


def _joint_mask(dense: Sequence[DenseView]) -> Tensor:
    """Pixels that are valid for every task that a sample is labelled for: boolean (B, 1, H, W)."""
    masks = [own.valid | ~own.labelled[:, None, None, None] for own in dense]
    return torch.stack(masks).all(dim=0)
