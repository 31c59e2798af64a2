# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Vector-map head: elements as ordered points, queried from the BEV and refined layer by layer.

After MapTR (Liao et al., 2023): hierarchical queries (an instance and its points), permutation-equivalent targets,
one-to-one matching. Instance queries start from the peaks of an anchor heatmap (two-stage DETR's idea), which learns
in few steps; attention inside and across instances is decoupled (MapTRv2).
"""

from __future__ import annotations

import torch
from mmdet3d.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...supervision.masking import label_mask
from ..bev.encoder import BEVEncoder
from ..bev.grid import BEVGrid
from ..heatmap import prior_bias, top_peaks
from .decoder import MapDecoderLayer
from .loss import MapLoss
from .targets import MapTargets


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
        loss: Arguments of :class:`MapLoss`.
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
        loss: dict | None = None,
    ) -> None:
        super().__init__()
        self.grid = BEVGrid(**grid)
        self.num_queries, self.num_points, self.num_classes = num_queries, num_points, num_classes
        self.encoder = BEVEncoder(channels, BEVGrid(**bev_grid), self.grid, num_blocks)
        self.dense = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.anchor_heat = nn.Conv2d(channels, num_classes, 1)
        self.anchor_points = nn.Conv2d(channels, num_points * 2, 1)
        self.segmentation = nn.Conv2d(channels, num_classes, 1)
        self.instance_embed = nn.Linear(2 * channels + num_classes, channels)
        self.point_embed = nn.Embedding(num_points, channels)
        self.layers = nn.ModuleList(
            MapDecoderLayer(channels, self.grid, num_classes) for _ in range(num_layers)
        )
        self.loss_fn = MapLoss(self.grid, num_classes, **(loss or {}))
        nn.init.constant_(self.anchor_heat.bias, prior_bias(0.01))
        nn.init.constant_(self.segmentation.bias, prior_bias(0.05))
        nn.init.normal_(self.anchor_points.weight, std=1e-3)
        self._spread_anchor_points()

    def _spread_anchor_points(self) -> None:
        """Anchors start as lines along y through their cell, a third of the range long."""
        length = (self.grid.range_m[3] - self.grid.range_m[1]) / 3
        line = torch.zeros(self.num_points, 2)
        line[:, 1] = torch.linspace(-0.5, 0.5, self.num_points) * length
        with torch.no_grad():
            self.anchor_points.bias.copy_(line.flatten())

    def forward(self, bev: Tensor) -> dict:
        """Predict.

        Args:
            bev: (B, C, H, W) shared BEV.

        Returns:
            'bev' (B, C, h, w) the head's feature map; 'queries' (B, N, C); 'heat' and 'segmentation' (B, L, h, w)
            logits; 'anchor_pts_m' (B, h * w, P, 2); 'layers': a list of (logits (B, N, L), pts_m (B, N, P, 2)), the
            first the anchors themselves.
        """
        feature = self.encoder(bev)
        dense = self.dense(feature)
        heat, segmentation = self.anchor_heat(dense), self.segmentation(dense)
        centers = self.encoder.centers_m.view(1, -1, 1, 2)
        offsets = self.anchor_points(dense).flatten(2).transpose(1, 2)
        anchor_pts = centers + offsets.unflatten(-1, (self.num_points, 2))
        _, index, _ = top_peaks(heat.detach().sigmoid(), self.num_queries)
        logits, points, content = self._anchor_queries(feature, dense, heat, anchor_pts, index)
        layers = [(logits, points)]
        queries = content.unsqueeze(2) + self.point_embed.weight
        prior = logits
        for layer in self.layers:
            points = points.detach()
            queries, logits, points = layer(queries, points, dense, prior)
            layers.append((logits, points))
        return dict(
            bev=feature,
            queries=queries.mean(2),
            heat=heat,
            segmentation=segmentation,
            anchor_pts_m=anchor_pts,
            layers=layers,
        )

    def _anchor_queries(
        self, feature: Tensor, dense: Tensor, heat: Tensor, anchor_pts: Tensor, index: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, points and content of the instances that start at the chosen cells."""
        both = torch.cat([feature, dense, heat.detach()], dim=1).flatten(2).transpose(1, 2)
        both = both.gather(1, index.unsqueeze(-1).expand(-1, -1, both.shape[-1]))
        points = anchor_pts.flatten(2).gather(
            1, index.unsqueeze(-1).expand(-1, -1, self.num_points * 2)
        )
        logits = both[..., -self.num_classes :]
        return logits, points.unflatten(-1, (self.num_points, 2)), self.instance_embed(both)

    def loss(self, bev: Tensor, samples: list) -> tuple[dict[str, Tensor], dict]:
        """Losses of the labelled samples, and the forward's outputs.

        Args:
            bev: (B, C, H, W).
            samples: B data samples with ``gt_map`` and ``tasks``.

        Returns:
            ``loss_map_*`` scalars, and what :meth:`forward` returns.
        """
        outputs = self(bev)
        labelled = label_mask([s.tasks for s in samples], self.task, bev.device)
        empty = InstanceData(labels=torch.zeros(0), pts_m=torch.zeros(0), is_closed=torch.zeros(0))
        gts = [s.gt_map if self.task in s.tasks else empty for s in samples]
        targets = MapTargets(gts, self.num_points, bev.device)
        return self.loss_fn(outputs, targets, labelled), outputs

    def predict(self, bev: Tensor) -> list[InstanceData]:
        """Elements of each sample.

        Returns:
            One InstanceData a sample: 'labels' (N,), 'scores' (N,) descending, 'pts_m' (N, P, 2) lidar frame.
        """
        logits, points = self(bev)['layers'][-1]
        scores, index = logits.sigmoid().flatten(1).topk(self.num_queries, dim=1)
        which = torch.div(index, self.num_classes, rounding_mode='floor')
        low = points.new_tensor(self.grid.range_m[:2])
        high = points.new_tensor(self.grid.range_m[2:])
        points = torch.minimum(torch.maximum(points, low), high)
        return [
            InstanceData(labels=i % self.num_classes, scores=s, pts_m=p[w])
            for i, s, p, w in zip(index, scores, points, which, strict=True)
        ]
