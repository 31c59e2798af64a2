# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Losses of the track head over a clip: collective average (MOTR, Zeng et al., 2022, eq. 4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from ..bev.grid import BEVGrid
from ..focal import sigmoid_focal
from ..heatmap import draw_centers, heatmap_focal_loss
from .assigner import FrameTargets
from .box_code import CODE_SIZE

# centre, log length, log width, z, log height, heading, velocity
CODE_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2)


def box_error(pred: Tensor, target: Tensor) -> Tensor:
    """Weighted L1 of box codes, (..., 10) to (...); terms whose target is NaN (unknown velocity) count nothing."""
    known = ~target.isnan()
    weight = pred.new_tensor(CODE_WEIGHTS) * known
    return (F.l1_loss(pred, target.nan_to_num(), reduction='none') * weight).sum(-1)


class TrackLoss(nn.Module):
    """Collects the terms of a clip's frames and layers, then divides by the clip's number of objects.

    Args:
        grid: The head's grid.
        num_classes: Track classes.
        cls_weight: Focal loss of the queries.
        box_weight: L1 of the boxes; a metre of error counts this much.
        heat_weight: Centre heatmap.
        sigma_m: Width of a centre's bump.
    """

    def __init__(
        self,
        grid: BEVGrid,
        num_classes: int,
        cls_weight: float = 2.0,
        box_weight: float = 0.25,
        heat_weight: float = 1.0,
        sigma_m: float = 1.0,
    ) -> None:
        super().__init__()
        self.grid, self.num_classes = grid, num_classes
        self.cls_weight, self.box_weight, self.heat_weight = cls_weight, box_weight, heat_weight
        self.sigma_m = sigma_m

    def frame(
        self,
        outputs: dict,
        targets: Sequence[FrameTargets],
        matched: Sequence[Tensor],
        keep: Tensor,
    ) -> dict[str, Tensor]:
        """Sums over one frame.

        Args:
            outputs: What the head's forward returns.
            targets: B samples' objects.
            matched: For each decoder layer (B, Q) indices into a sample's targets, -1 for none.
            keep: (B,) one where the sample is labelled for tracking, else zero.

        Returns:
            Sums by name, not yet averaged.
        """
        sums = self._dense(outputs, targets, keep)
        valid = outputs['valid']
        for i, ((logits, code), match) in enumerate(zip(outputs['layers'], matched, strict=True)):
            goal, aim = torch.zeros_like(logits), torch.zeros_like(code)
            for b, target in enumerate(targets):
                rows = (match[b] >= 0).nonzero().flatten()
                goal[b, rows, target.labels[match[b, rows]]] = 1
                aim[b, rows] = target.code[match[b, rows]]
            weight = keep[:, None] * valid
            sums[f'd{i}_cls'] = (
                sigmoid_focal(logits, goal).sum(-1) * weight
            ).sum() * self.cls_weight
            sums[f'd{i}_box'] = (
                box_error(code, aim) * (match >= 0) * weight
            ).sum() * self.box_weight
        return sums

    def _dense(
        self, outputs: dict, targets: Sequence[FrameTargets], keep: Tensor
    ) -> dict[str, Tensor]:
        """Heatmap and boxes predicted at the cells that hold a centre."""
        size = max([len(t.ids) for t in targets] + [1])
        code = outputs['heat'].new_zeros(len(targets), size, CODE_SIZE)
        labels = torch.zeros(code.shape[:2], dtype=torch.long, device=code.device)
        valid = torch.zeros(code.shape[:2], dtype=torch.bool, device=code.device)
        for b, target in enumerate(targets):
            code[b, : len(target.ids)] = target.code
            labels[b, : len(target.ids)] = target.labels
            valid[b, : len(target.ids)] = True
        goal = draw_centers(code[..., :2], labels, valid, self.grid, self.num_classes, self.sigma_m)
        heat = (heatmap_focal_loss(outputs['heat'], goal) * keep).sum()
        cell, inside = self.grid.cell_of(code[..., :2])
        pred = outputs['dense_code'].gather(1, cell.unsqueeze(-1).expand(-1, -1, CODE_SIZE))
        box = (box_error(pred, code) * (valid & inside) * keep[:, None]).sum()
        return dict(heat=heat * self.heat_weight, dense_box=box * self.box_weight)

    def collect(
        self, frames: Sequence[dict[str, Tensor]], num_objects: Tensor
    ) -> dict[str, Tensor]:
        """Divide the clip's sums by its number of objects over all processes.

        Args:
            frames: Results of :meth:`frame`.
            num_objects: Objects of the labelled samples, all frames.

        Returns:
            ``loss_track_<term>`` scalars.
        """
        total: dict[str, Tensor] = defaultdict(float)
        for sums in frames:
            for name, value in sums.items():
                total[name] = total[name] + value
        norm = reduce_mean(num_objects.float()).clamp(min=1)
        return {f'loss_track_{name}': value / norm for name, value in total.items()}
