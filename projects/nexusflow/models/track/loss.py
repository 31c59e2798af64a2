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
from ..focal import segmentation_bce, sigmoid_focal
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


def neighbourhood(cell_m: float) -> Tensor:
    """Offsets to a cell and its eight neighbours, (9, 2) metres: all of them learn the box."""
    step = torch.tensor([-cell_m, 0.0, cell_m])
    return torch.cartesian_prod(step, step)


def footprints(
    code: Tensor, labels: Tensor, valid: Tensor, grid: BEVGrid, num_classes: int
) -> Tensor:
    """Cells covered by boxes seen from above, a box at least as large as a cell.

    Args:
        code: (B, K, 10) boxes.
        labels: (B, K) classes.
        valid: (B, K) which slots hold a box.
        grid: The grid.
        num_classes: Classes.

    Returns:
        (B, num_classes, H, W), 0 or 1.
    """
    away = grid.centers().to(code.device) - code[:, :, None, None, :2]
    sin, cos = code[..., 6, None, None], code[..., 7, None, None]
    along = away[..., 0] * cos + away[..., 1] * sin
    across = away[..., 1] * cos - away[..., 0] * sin
    half = (code[..., 2:4].exp() / 2).clamp(min=grid.cell_m * 0.71)[..., None, None]
    inside = (along.abs() < half[:, :, 0]) & (across.abs() < half[:, :, 1]) & valid[..., None, None]
    area = code.new_zeros(len(code), num_classes, *grid.shape)
    index = labels[..., None, None].expand_as(inside)
    return area.scatter_reduce(1, index, inside.to(code.dtype), reduce='amax')


class TrackLoss(nn.Module):
    """Collects the terms of a clip's frames and layers, then divides by the clip's number of objects.

    Args:
        grid: The head's grid.
        num_classes: Track classes.
        cls_weight: Focal loss of the queries.
        box_weight: L1 of the boxes; a metre of error counts this much.
        heat_weight: Centre heatmap.
        seg_weight: Auxiliary segmentation of the boxes' footprints, a cell: a dense signal that shapes the BEV early.
        sigma_m: Width of a centre's bump.
        max_distance_m: Newborns are matched to objects within this distance.
    """

    def __init__(
        self,
        grid: BEVGrid,
        num_classes: int,
        cls_weight: float = 2.0,
        box_weight: float = 0.25,
        heat_weight: float = 1.0,
        seg_weight: float = 0.03,
        sigma_m: float = 1.0,
        max_distance_m: float = 3.0,
    ) -> None:
        super().__init__()
        self.grid, self.num_classes = grid, num_classes
        self.cls_weight, self.box_weight, self.heat_weight = cls_weight, box_weight, heat_weight
        self.seg_weight = seg_weight
        self.sigma_m, self.max_distance_m = sigma_m, max_distance_m

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
        spots = code[:, :, None, :2] + neighbourhood(self.grid.cell_m).to(code.device)
        cell, inside = self.grid.cell_of(spots)
        index = cell.flatten(1).unsqueeze(-1).expand(-1, -1, CODE_SIZE)
        pred = outputs['dense_code'].gather(1, index).view(*spots.shape[:3], CODE_SIZE)
        error = box_error(pred, code.unsqueeze(2).expand_as(pred)) * inside
        box = (error.mean(-1) * valid * keep[:, None]).sum()
        area = footprints(code, labels, valid, self.grid, self.num_classes)
        seg = (segmentation_bce(outputs['segmentation'], area) * keep).sum() * area[0].numel()
        return dict(
            heat=heat * self.heat_weight,
            dense_box=box * self.box_weight,
            seg=seg * self.seg_weight,
        )

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
