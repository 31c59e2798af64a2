# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Losses of the map head: classes, points and direction of every decoder layer, anchors, and an auxiliary segmentation.

Matching after MapTR (Liao et al., 2023, section 3.4): an element's distance is the least over its equivalent point
orders, then predictions are assigned one to one. All layers are matched with one copy to the host.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn

from ..bev.grid import BEVGrid
from ..focal import focal_cost, segmentation_bce, sigmoid_focal
from ..matching import match_batch
from .anchor_loss import AnchorLoss
from .line_fields import LineFieldLoss
from .segmentation import line_masks
from .targets import MapTargets, order_costs


class MapLoss(nn.Module):
    """Sum of the map head's losses over the labelled samples.

    Args:
        grid: The head's grid.
        num_classes: Map classes.
        num_points: Points of an element.
        cls_weight: Focal loss of the matched elements.
        pts_weight: L1 of the points, a metre of mean coordinate error counts this much.
        dir_weight: One minus the mean cosine between edges.
        heat_weight: Anchor heatmap.
        seg_weight: Auxiliary segmentation; 0: the head has none.
        offset_weight: Offset field, a metre of error counts this much.
        tangent_weight: Direction field.
        anchor_sigma_m: Width of an anchor's bump.
        max_distance_m: A prediction whose mean coordinate error is larger is matched to no element; None: no limit.
        repeats: How often an element may be matched in the one-to-many group (MapTRv2's K).
        extra_weight: Weight of the one-to-many group.
    """

    def __init__(
        self,
        grid: BEVGrid,
        num_classes: int,
        num_points: int,
        cls_weight: float = 2.0,
        pts_weight: float = 1.0,
        dir_weight: float = 0.2,
        heat_weight: float = 1.0,
        seg_weight: float = 10.0,
        offset_weight: float = 4.0,
        tangent_weight: float = 2.0,
        anchor_sigma_m: float = 1.0,
        max_distance_m: float | None = 4.0,
        repeats: int = 1,
        extra_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.grid, self.num_classes = grid, num_classes
        self.weights = dict(
            cls=cls_weight,
            pts=pts_weight,
            dir=dir_weight,
            heat=heat_weight,
            seg=seg_weight,
            offset=offset_weight,
            tangent=tangent_weight,
        )
        self.max_distance_m = float('inf') if max_distance_m is None else max_distance_m
        self.repeats, self.extra_weight = repeats, extra_weight
        self.anchors = AnchorLoss(grid, num_classes, num_points, anchor_sigma_m)
        self.fields = LineFieldLoss(grid)

    def forward(self, outputs: dict, targets: MapTargets, labelled: Tensor) -> dict[str, Tensor]:
        """Compute.

        Args:
            outputs: What the head's forward returns.
            targets: Ground truth; unlabelled samples have no element.
            labelled: (B,) bool; the others get exactly zero gradient.

        Returns:
            ``loss_map_<term>`` scalars; those of decoder layer i are ``loss_map_d<i>_<term>``, those of its
            one-to-many group ``loss_map_extra_d<i>_<term>``.
        """
        elements = share_of_all(targets.valid)
        terms = self._dense_terms(outputs, targets, labelled, elements)
        terms.update(self._layer_terms(outputs['layers'][1:], targets, labelled, elements, 1))
        losses = {f'loss_map_{name}': value for name, value in terms.items()}
        if 'extra_layers' in outputs:
            extra = self._layer_terms(
                outputs['extra_layers'][1:], targets, labelled, elements, self.repeats
            )
            for name, value in extra.items():
                losses[f'loss_map_extra_{name}'] = value * self.extra_weight
        return losses

    def _dense_terms(
        self, outputs: dict, targets: MapTargets, labelled: Tensor, elements: Tensor
    ) -> dict[str, Tensor]:
        terms = {}
        if 'heat' in outputs:
            heat, pts = self.anchors(outputs, targets)
            terms['heat'] = keep_sum(heat, labelled) / elements * self.weights['heat']
            terms['anchor_pts'] = keep_sum(pts, labelled) / elements * self.weights['pts']
        if 'offset' in outputs:
            sums = self.fields(outputs, targets)
            for name, value in zip(('offset', 'tangent'), sums, strict=True):
                terms[name] = keep_sum(value, labelled) / elements * self.weights[name]
        if 'segmentation' in outputs:
            count = share_of_all(labelled)
            masks = line_masks(targets, self.grid, self.num_classes)
            seg = segmentation_bce(outputs['segmentation'].float(), masks)
            terms['seg'] = keep_sum(seg, labelled) / count * self.weights['seg']
        return terms

    def _layer_terms(
        self,
        layers: Sequence[tuple[Tensor, Tensor]],
        targets: MapTargets,
        labelled: Tensor,
        elements: Tensor,
        repeats: int,
    ) -> dict[str, Tensor]:
        """Terms of D decoder layers at once, each element matched to up to ``repeats`` predictions."""
        logits = torch.stack([logits for logits, _ in layers]).float()
        points = torch.stack([points for _, points in layers]).float()
        with torch.no_grad():
            distance, order = order_costs(points, targets)
            d, b, n, k = self._match(logits, distance, targets, repeats)
        goal = torch.zeros_like(logits)
        goal[d, b, n, targets.labels[b, k]] = 1
        cls = keep_sum(sigmoid_focal(logits, goal).sum((2, 3)), labelled)
        pred, aim = points[d, b, n], targets.orders_m[b, k, order[d, b, n, k]]
        edges, aim_edges = pred.diff(dim=1), aim.diff(dim=1)
        # an edge without length has no direction
        turn = (1 - F.cosine_similarity(edges, aim_edges, dim=-1)) * aim_edges.any(-1)
        errors = torch.stack([(pred - aim).abs().mean((1, 2)), turn.mean(1)])
        of_layer = d == torch.arange(len(layers), device=d.device).unsqueeze(1)
        # no matrix product, which autocast would do in half precision
        sums = torch.where(of_layer, errors.unsqueeze(1), 0.0).sum(-1)
        norm = elements * repeats
        found = dict(cls=cls, pts=sums[0], dir=sums[1])
        return {
            f'd{i}_{name}': value[i] / norm * self.weights[name]
            for i in range(len(layers))
            for name, value in found.items()
        }

    def _match(
        self, logits: Tensor, distance: Tensor, targets: MapTargets, repeats: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Layer, batch, query and element indices of the pairs, from (D, B, N, L) and (D, B, N, K)."""
        layers, batch, queries = logits.shape[:3]
        labels = targets.labels.unsqueeze(1).expand(layers, -1, queries, -1)
        cost = self.weights['cls'] * focal_cost(logits).gather(3, labels)
        cost, near = cost + self.weights['pts'] * distance, distance < self.max_distance_m
        each, n, k = match_batch(
            cost.flatten(0, 1), near.flatten(0, 1), targets.counts * layers, repeats
        )
        return torch.div(each, batch, rounding_mode='floor'), each % batch, n, k


def share_of_all(mask: Tensor) -> Tensor:
    """True entries over all processes, at least one, over their number: processes average their gradients."""
    count = mask.sum().float()
    all_reduce(count)
    return count.clamp(min=1) / get_world_size()


def keep_sum(loss: Tensor, labelled: Tensor) -> Tensor:
    """Sum over the labelled samples: (..., B) to (...); the others get a gradient of exactly 0."""
    return torch.where(labelled, loss, torch.zeros_like(loss)).sum(-1)
