# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Losses of the map head: matching, points, direction, classes, anchors, and an auxiliary BEV segmentation."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from ..bev.grid import BEVGrid
from ..focal import segmentation_bce, sigmoid_focal
from ..heatmap import draw_centers, heatmap_focal_loss
from ..matching import match_within
from .targets import MapTargets, order_costs


class MapLoss(nn.Module):
    """Sum of the map head's losses over the labelled samples.

    Args:
        grid: The head's grid.
        num_classes: Map classes.
        cls_weight: Focal loss of the matched elements.
        pts_weight: L1 of the points, a metre of mean error counts this much.
        dir_weight: One minus the cosine between edges.
        heat_weight: Anchor heatmap.
        seg_weight: Auxiliary segmentation.
        anchor_sigma_m: Width of an anchor's bump.
        max_distance_m: A prediction whose mean coordinate error is larger is matched to no element.
    """

    def __init__(
        self,
        grid: BEVGrid,
        num_classes: int,
        cls_weight: float = 2.0,
        pts_weight: float = 1.0,
        dir_weight: float = 0.2,
        heat_weight: float = 1.0,
        seg_weight: float = 10.0,
        anchor_sigma_m: float = 1.0,
        max_distance_m: float = 4.0,
    ) -> None:
        super().__init__()
        self.grid, self.num_classes = grid, num_classes
        self.weights = dict(
            cls=cls_weight, pts=pts_weight, dir=dir_weight, heat=heat_weight, seg=seg_weight
        )
        self.anchor_sigma_m, self.max_distance_m = anchor_sigma_m, max_distance_m

    def forward(self, outputs: dict, targets: MapTargets, labelled: Tensor) -> dict[str, Tensor]:
        """Compute.

        Args:
            outputs: What the head's forward returns.
            targets: Ground truth; unlabelled samples have no element.
            labelled: (B,) bool; the others get exactly zero gradient.

        Returns:
            ``loss_map_<term>`` scalars, those of later layers as ``loss_map_d<i>_<term>``.
        """
        keep = labelled.to(outputs['heat'].dtype)
        elements = reduce_mean(targets.valid.sum().to(keep.dtype)).clamp(min=1)
        count = reduce_mean(keep.sum()).clamp(min=1)
        losses = self._dense_losses(outputs, targets, keep, elements, count)
        for i, (logits, points) in enumerate(outputs['layers'][1:]):
            terms = self._layer_losses(logits, points, targets, keep, elements)
            losses.update({f'loss_map_d{i}_{name}': value for name, value in terms.items()})
        return losses

    def _dense_losses(
        self, outputs: dict, targets: MapTargets, keep: Tensor, elements: Tensor, count: Tensor
    ) -> dict[str, Tensor]:
        spots = targets.anchors_m
        batch, slots, num = spots.shape[:3]
        labels = targets.labels.unsqueeze(-1).expand(-1, -1, num)
        valid = targets.valid.unsqueeze(-1).expand(-1, -1, num)
        # full height in the middle, falling off along the line: any spot near the middle is a fair anchor
        height = torch.exp(-0.5 * (torch.arange(num, device=spots.device) / num * 2) ** 2)
        heat_target = draw_centers(
            spots.flatten(1, 2),
            labels.flatten(1),
            valid.flatten(1),
            self.grid,
            self.num_classes,
            self.anchor_sigma_m,
            height.repeat(slots),
        )
        heat = (heatmap_focal_loss(outputs['heat'], heat_target) * keep).sum() / elements
        seg = segmentation_bce(outputs['segmentation'], self._raster(targets))
        seg = (seg * keep).sum() / count
        cell, inside = self.grid.cell_of(spots)
        anchors = outputs['anchor_pts_m'].flatten(2)
        index = cell.flatten(1).unsqueeze(-1).expand(-1, -1, anchors.shape[-1])
        picked = anchors.gather(1, index).view(batch, slots, num, 1, -1)
        goal = targets.orders_m.flatten(3).unsqueeze(2)
        error = (picked - goal).abs().mean(-1).min(-1).values
        pts = (error * (valid & inside) * keep[:, None, None]).sum() / (elements * num)
        return dict(
            loss_map_heat=heat * self.weights['heat'],
            loss_map_seg=seg * self.weights['seg'],
            loss_map_anchor_pts=pts * self.weights['pts'],
        )

    def _raster(self, targets: MapTargets) -> Tensor:
        """Line masks (B, L, h, w): 1 on the cells that an element passes through."""
        points = targets.orders_m[:, :, 0]
        longest = max(
            self.grid.range_m[2] - self.grid.range_m[0], self.grid.range_m[3] - self.grid.range_m[1]
        )
        pieces = math.ceil(longest / (points.shape[2] - 1) / self.grid.cell_m) + 1
        step = torch.linspace(0, 1, pieces, device=points.device).view(-1, 1, 1, 1, 1)
        dense = (
            torch.lerp(points[:, :, :-1], points[:, :, 1:], step)
            .permute(1, 2, 0, 3, 4)
            .flatten(2, 3)
        )
        cell, inside = self.grid.cell_of(dense)
        inside = inside & targets.valid.unsqueeze(-1)
        rows, cols = self.grid.shape
        index = targets.labels.unsqueeze(-1) * (rows * cols) + cell
        masks = dense.new_zeros(len(points), self.num_classes * rows * cols)
        masks = masks.scatter_reduce(
            1, index.flatten(1), inside.to(dense.dtype).flatten(1), reduce='amax'
        )
        return masks.view(-1, self.num_classes, rows, cols)

    def _layer_losses(
        self, logits: Tensor, points: Tensor, targets: MapTargets, keep: Tensor, elements: Tensor
    ) -> dict[str, Tensor]:
        with torch.no_grad():
            distance, order = order_costs(points, targets)
            b, n, k = self._match(logits, distance, targets)
        goal = torch.zeros_like(logits)
        goal[b, n, targets.labels[b, k]] = 1
        cls = (sigmoid_focal(logits, goal).sum((1, 2)) * keep).sum() / elements
        aim = targets.orders_m[b, k, order[b, n, k]]
        pred = points[b, n]
        pts = (pred - aim).abs().mean((1, 2)).sum() / elements + points.sum() * 0
        edges = F.cosine_similarity(pred.diff(dim=1), aim.diff(dim=1), dim=-1)
        direction = (1 - edges).mean(1).sum() / elements
        return dict(
            cls=cls * self.weights['cls'],
            pts=pts * self.weights['pts'],
            dir=direction * self.weights['dir'],
        )

    def _match(
        self, logits: Tensor, distance: Tensor, targets: MapTargets
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One-to-one assignment a sample; returns batch, query and element indices of the pairs."""
        prob = logits.sigmoid()
        positive = 0.25 * (1 - prob) ** 2 * -(prob + 1e-8).log()
        negative = 0.75 * prob**2 * -(1 - prob + 1e-8).log()
        labels = targets.labels.unsqueeze(1).expand(-1, logits.shape[1], -1)
        cost = self.weights['cls'] * (positive - negative).gather(2, labels)
        cost, near = cost + self.weights['pts'] * distance, distance < self.max_distance_m
        pairs = []
        for b, count in enumerate(targets.valid.sum(1).tolist()):
            n, k = match_within(cost[b, :, :count], near[b, :, :count])
            pairs += [(b, i, j) for i, j in zip(n.tolist(), k.tolist(), strict=True)]
        index = torch.tensor(pairs, dtype=torch.long, device=logits.device).view(-1, 3)
        return index[:, 0], index[:, 1], index[:, 2]
