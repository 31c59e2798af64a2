# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Vector-map head: elements as ordered points, queried from the BEV and refined layer by layer.

After MapTR (Liao et al., 2023): hierarchical queries (an instance and its points), permutation-equivalent targets,
one-to-one matching; and MapTRv2 (Liao et al., 2024): decoupled self-attention, a one-to-many group of queries in
training, auxiliary BEV segmentation.
"""

from __future__ import annotations

import torch
from mmdet3d.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...supervision.masking import label_mask
from ..bev.encoder import BEVEncoder
from ..bev.grid import BEVGrid
from ..heatmap import prior_bias
from .anchors import AnchorQueries
from .decoder import MapDecoder
from .loss import MapLoss
from .queries import LearnedQueries
from .targets import TargetBuilder
from .traced import TracedQueries


@MODELS.register_module()
class NexusMapHead(nn.Module):
    """Map head.

    Args:
        channels: Channels of the BEV and of the queries.
        bev_grid: Arguments of the shared BEV's :class:`BEVGrid`.
        grid: Arguments of the head's own grid; its range is the map's range.
        num_classes: Map classes.
        num_queries: Elements predicted a sample.
        num_points: Points an element.
        num_layers: Decoder layers.
        num_blocks: Residual blocks of the head's BEV encoder.
        query_source: 'traced': queries start from lines followed through dense fields, which learns in few steps;
            'anchors': from the peaks of an anchor heatmap; 'learned': instance and point embeddings (MapTR).
        tracing: Other arguments of :class:`TracedQueries`; ``ring_class`` goes with the data set's ``map_classes``.
        decoder: Other arguments of :class:`MapDecoder`, those of its layers.
        one_to_many: None, or MapTRv2's auxiliary queries of training: ``num_queries``, ``repeats``, how often an
            element may be matched to them, and ``weight``, 1 by default.
        order_pattern: Equivalent orders of a ring's points, see :func:`order_table`.
        loss: Arguments of :class:`MapLoss`.

    Raises:
        ValueError: For an unknown ``query_source``.
    """

    task = 'map'
    required_targets = ('gt_map',)

    def __init__(
        self,
        channels: int,
        bev_grid: dict,
        grid: dict,
        num_classes: int = 3,
        num_queries: int = 30,
        num_points: int = 20,
        num_layers: int = 2,
        num_blocks: int = 2,
        query_source: str = 'anchors',
        tracing: dict | None = None,
        decoder: dict | None = None,
        one_to_many: dict | None = None,
        order_pattern: str = 'both',
        loss: dict | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.num_classes = channels, num_classes
        self.grid = BEVGrid(**grid)
        extra = dict(num_queries=0, repeats=1, weight=1.0) | (one_to_many or {})
        self.num_queries, self.num_extra = num_queries, extra['num_queries']
        self.encoder = BEVEncoder(channels, BEVGrid(**bev_grid), self.grid, num_blocks)
        self.dense = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        sizes = (channels, self.grid, num_classes, num_points, num_queries)
        if query_source == 'anchors':
            self.queries = AnchorQueries(*sizes)
        elif query_source == 'traced':
            self.queries = TracedQueries(*sizes, **(tracing or {}))
        elif query_source == 'learned':
            self.queries = LearnedQueries(*sizes, self.num_extra)
        else:
            raise ValueError(
                f"query_source '{query_source}' is not one of anchors, traced, learned"
            )
        self.decoder = MapDecoder(channels, self.grid, num_classes, num_layers, **(decoder or {}))
        self.targets = TargetBuilder(num_points, order_pattern)
        self.loss_fn = MapLoss(
            self.grid,
            num_classes,
            num_points,
            repeats=extra['repeats'],
            extra_weight=extra['weight'],
            **(loss or {}),
        )
        self.segmentation = None
        if self.loss_fn.weights['seg']:
            self.segmentation = nn.Conv2d(channels, num_classes, 1)
            nn.init.constant_(self.segmentation.bias, prior_bias(0.05))

    def forward(self, bev: Tensor) -> dict:
        """Predict.

        Args:
            bev: (B, C, H, W) shared BEV.

        Returns:
            'bev' (B, C, h, w) the head's feature map; 'queries' (B, N, C); 'layers': a list of (logits (B, N, L),
            pts_m (B, N, P, 2)), the first where the queries start. Where the head has them: 'heat' and 'segmentation'
            (B, L, h, w) logits, 'anchor_pts_m' (B, h * w, P, 2). With one-to-many queries, in training: their
            'extra_layers'.
        """
        feature = self.encoder(bev)
        dense = self.dense(feature)
        segmentation = None if self.segmentation is None else self.segmentation(dense)
        extra = self.num_extra if self.training else 0
        start = self.queries(feature, dense, extra, segmentation)
        queries, layers = self.decoder(start, dense)
        num = self.num_queries
        outputs = dict(
            start.maps,
            bev=feature,
            queries=queries[:, :num].mean(2),
            layers=[(logits[:, :num], points[:, :num]) for logits, points in layers],
        )
        if len(start.groups) > 1:
            outputs['extra_layers'] = [
                (logits[:, num:], points[:, num:]) for logits, points in layers
            ]
        if segmentation is not None:
            outputs['segmentation'] = segmentation
        return outputs

    def loss(self, bev: Tensor, samples: list) -> tuple[dict[str, Tensor], dict]:
        """Losses of the labelled samples, and the forward's outputs.

        Args:
            bev: (B, C, H, W).
            samples: B data samples with ``gt_map`` and ``tasks``.

        Returns:
            ``loss_map_*`` scalars, and what :meth:`forward` returns.
        """
        outputs = self(bev)
        return self.losses_of(outputs, samples), outputs

    def losses_of(self, outputs: dict, samples: list) -> dict[str, Tensor]:
        """``loss_map_*`` scalars of what :meth:`forward` returned, on the samples that are labelled."""
        labelled = label_mask([s.tasks for s in samples], self.task, outputs['bev'].device)
        targets = self.targets([s.gt_map if self.task in s.tasks else None for s in samples])
        return self.loss_fn(outputs, targets, labelled)

    def decode(self, logits: Tensor, points_m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best elements, by class and query, of a decoder layer.

        Args:
            logits: (B, N, L).
            points_m: (B, N, P, 2).

        Returns:
            Scores (B, N) descending, labels (B, N), points (B, N, P, 2) clamped to the head's range.
        """
        scores, index = logits.sigmoid().flatten(1).topk(self.num_queries, dim=1)
        which = torch.div(index, self.num_classes, rounding_mode='floor')
        low, high = points_m.new_tensor(self.grid.range_m).view(2, 2)
        points = torch.minimum(torch.maximum(points_m, low), high)
        source = which[..., None, None].expand(-1, -1, *points.shape[2:])
        return scores, index % self.num_classes, points.gather(1, source)

    def predict(self, bev: Tensor) -> list[InstanceData]:
        """Elements of each sample.

        Returns:
            One InstanceData a sample: 'labels' (N,), 'scores' (N,) descending, 'pts_m' (N, P, 2) lidar frame.
        """
        decoded = self.decode(*self(bev)['layers'][-1])
        return [
            InstanceData(labels=labels, scores=scores, pts_m=points)
            for scores, labels, points in zip(*decoded, strict=True)
        ]
