# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""MTPSL: cross-task consistency in a space that a mapping network makes for each pair of tasks.

Li, Liu and Bilen, "Learning Multiple Dense Prediction Tasks from Partially Annotated Data", CVPR 2022.
For every ordered pair (s, t) of a task s that a sample is not labelled for and a task t that it is:

    m_s = M_st(prediction of s),  m_t = M_st(label of t)
    L = [1 - cos(m_s, m_t)] + 0.5 ([1 - cos(m_s, sg f)] + [1 - cos(m_t, sg f)])

with the cosine over channels, its mean over pixels, and f the shared encoder's feature without gradient.
The sum over pairs and samples is divided by the batch size and weighs 2. Gradients reach the model only
through the predictions of s. A sample with all labels has all pairs s != t; one without labels has none.

The last view is read: the published method makes a second, augmented one. A model that makes none gives
its only view (map and track: boxes, lines and six calibrated cameras have no common crop and scale).

The published optimiser gives ``film_scale`` and ``film_shift`` ten times the learning rate; in a configuration:
``paramwise_cfg=dict(custom_keys={'regulariser.film': dict(lr_mult=10.0)})``.

What differs from the published code, and why:

- The pixels where the label of t is not valid are blanked in the prediction of s as well. There was no
  mask, and M saw holes in one of its two inputs.
- Depth is divided by its largest magnitude. It was its maximum, which explodes, or changes the sign, when
  a young head predicts nothing positive; for positive maps both are the same.
- The classes of a prediction are drawn once a sample, not once a pair, from finite noise; the published
  code draws again while it finds NaN.
- Without any pair the loss is 0 with its graph; it was the integer 0, on which the training loop failed.
- M takes all pairs of a batch in one call, normalised image by image, which is what its batch
  normalisation did on one image at a time (:mod:`nexusflow.supervision.segnet`).
- f is averaged down to the raster of m where it is finer; they are of one size in the published model.
- ``masks`` is a kind of our own: probabilities, see :func:`nexusflow.supervision.dense_tasks.values_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dense_tasks import build_tasks, dense_views, values_of
from .masking import graph_zero
from .segnet import WIDTHS, ConvNorm, SegNetEncoder, xavier
from .view import DenseView, View

__all__ = ['MTPSL', 'cosine_distance', 'ordered_pairs']

EPS = 1e-12


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """One minus the cosine over channels, mean over pixels: (B, C, H, W) twice to (B,)."""
    return (1 - F.cosine_similarity(a, b, dim=1, eps=EPS)).flatten(1).mean(dim=1)


def ordered_pairs(labelled: Tensor) -> Tensor:
    """Which pairs (s, t) of tasks a sample is compared on.

    Args:
        labelled: Boolean (B, K).

    Returns:
        Boolean (B, K, K): s is not labelled (or all tasks are) and t is, s != t.

    Example:
        >>> ordered_pairs(torch.tensor([[True, False, False]]))[0].nonzero().tolist()
        [[1, 0], [2, 0]]
    """
    source = ~labelled | labelled.all(dim=1, keepdim=True)
    same = torch.eye(labelled.shape[1], dtype=torch.bool, device=labelled.device)
    return source.unsqueeze(2) & labelled.unsqueeze(1) & ~same


def network_input(kind: str, values: Tensor) -> Tensor:
    """A map as the mapping network reads it: depth relative to its largest, normals in [0, 1]."""
    if kind == 'depth':
        return values / (values.abs().amax(dim=(1, 2, 3), keepdim=True) + EPS)
    return (values + 1) / 2 if kind == 'normals' else values


class MTPSL(nn.Module):
    """Cross-task consistency of MTPSL.

    Args:
        tasks: Name to ``dict(kind=..., channels=...)``.
        widths: Channels of the mapping network's stages; the last one is that of the shared feature.
        depths: Convolutions of its stages; the published ones if not given.
        weight: Factor of the loss.
        feature_weight: Factor of the two distances to the shared feature.
        warmup_iters: Training steps over which the weight grows linearly from 0; published: none.
        tau: Temperature of drawn classes.
    """

    extra_views = 1
    needs_dense = True
    steps: Tensor

    def __init__(
        self,
        tasks: Mapping[str, Mapping[str, Any]],
        widths: Sequence[int] = WIDTHS,
        depths: Sequence[int] | None = None,
        weight: float = 2.0,
        feature_weight: float = 0.5,
        warmup_iters: int = 0,
        tau: float = 1.0,
    ) -> None:
        super().__init__()
        self.tasks = build_tasks(tasks)
        self.weight, self.feature_weight, self.tau = weight, feature_weight, tau
        self.warmup_iters = warmup_iters
        self.stems = nn.ModuleList(
            ConvNorm(task.channels, widths[0]) for task in self.tasks.values()
        )
        self.trunk = SegNetEncoder(widths[0], widths, depths)
        xavier(self)
        pairs, layers = len(self.tasks) * (len(self.tasks) - 1), sum(self.trunk.layer_widths)
        self.film_scale = nn.Parameter(torch.ones(pairs, layers))
        self.film_shift = nn.Parameter(torch.zeros(pairs, layers))
        self.register_buffer('steps', torch.zeros(()))

    def forward(self, views: Sequence[View], samples: object = None) -> dict[str, Tensor]:
        """Compare predictions of unlabelled tasks with labels of others.

        Args:
            views: Views of B samples with ``dense`` and ``shared``; the last one is read.
            samples: The data samples; not needed, the dense views know what is labelled.

        Returns:
            ``loss_mtpsl``; ``mtpsl_pairs``, the pairs a sample; and, if there are pairs,
            ``mtpsl_distance``, their mean distance between prediction and label.

        Raises:
            ValueError: If the shared feature is missing or has other channels than the network's end.
        """
        view = views[-1]
        dense = dense_views(view, self.tasks)
        factor = self.weight * self._warm_up()
        labelled = torch.stack([own.labelled for own in dense], dim=1)
        pairs = ordered_pairs(labelled).nonzero()
        zero = graph_zero(*self.parameters(), *(own.prediction for own in dense))
        scalars = {'mtpsl_pairs': zero.detach() + len(pairs) / len(labelled)}
        if not len(pairs):
            return {'loss_mtpsl': zero, **scalars}
        mapped_s, mapped_t = self.map_pairs(dense, pairs)
        feature = self._shared_feature(view, mapped_s)[pairs[:, 0]]
        distance = cosine_distance(mapped_s, mapped_t)
        to_feature = cosine_distance(mapped_s, feature) + cosine_distance(mapped_t, feature)
        loss = (distance + self.feature_weight * to_feature).sum() / len(labelled)
        scalars['mtpsl_distance'] = distance.detach().mean()
        return {'loss_mtpsl': factor * loss + zero, **scalars}

    def map_pairs(self, dense: Sequence[DenseView], pairs: Tensor) -> tuple[Tensor, Tensor]:
        """The mapping network on both sides of each pair.

        Args:
            dense: The tasks' views.
            pairs: (R, 3) sample, unlabelled task s, labelled task t.

        Returns:
            m_s and m_t, each (R, C, h, w).
        """
        sample, source, target = pairs.unbind(dim=1)
        valid = torch.stack([own.valid for own in dense])[target, sample]
        stemmed, rows = [], []
        for task, (own, stem) in enumerate(zip(dense, self.stems, strict=True)):
            here, there = (source == task).nonzero()[:, 0], (target == task).nonzero()[:, 0]
            maps = []
            if len(here):
                shown = values_of(own, self.tau)[sample[here]] * valid[here]
                maps.append(network_input(own.kind, shown))
            if len(there):
                maps.append(network_input(own.kind, own.target[sample[there]]))
            if maps:
                stemmed.append(stem(torch.cat(maps)))
                rows += [here, there + len(pairs)]
        ordered = torch.cat(stemmed)[torch.cat(rows).argsort()]
        mapped, _ = self.trunk(ordered, self._film(source, target))
        mapped_s, mapped_t = mapped.chunk(2)
        return mapped_s, mapped_t

    def _film(self, source: Tensor, target: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Scale and shift of each convolution, (2R, width), for both sides of R pairs."""
        pair = source * (len(self.tasks) - 1) + target - (target > source).long()
        pair = pair.repeat(2)
        widths = self.trunk.layer_widths
        tables = (
            torch.split(table[pair], widths, dim=1) for table in (self.film_scale, self.film_shift)
        )
        return list(zip(*tables, strict=True))

    def _shared_feature(self, view: View, mapped: Tensor) -> Tensor:
        """The shared feature without gradient, on the raster of the mapped ones."""
        if view.shared is None or view.shared.shape[1] != mapped.shape[1]:
            found = None if view.shared is None else view.shared.shape[1]
            raise ValueError(
                f'MTPSL compares with the shared feature, whose channels ({found}) must be the last of '
                f"'widths' ({mapped.shape[1]})"
            )
        return F.adaptive_avg_pool2d(view.shared.detach(), (mapped.shape[-2], mapped.shape[-1]))

    def _warm_up(self) -> Tensor | float:
        """Share of the weight in this training step."""
        if not self.warmup_iters:
            return 1.0
        share = (self.steps / self.warmup_iters).clamp(max=1.0)
        if self.training:
            self.steps += 1
        return share
