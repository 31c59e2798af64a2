# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Losses of the track head over a clip: collective average (MOTR, Zeng et al., 2022, eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn

from ..bev.grid import BEVGrid
from ..focal import segmentation_bce, sigmoid_focal
from ..heatmap import draw_centers, heatmap_focal_loss
from .assigner import FrameTargets
from .box_code import CODE_SIZE, VELOCITY, XY

# of the velocity; all other terms weigh 1
VELOCITY_WEIGHT = 0.2
NORMALISERS = ('clip', 'frame')


def box_error(pred: Tensor, target: Tensor) -> Tensor:
    """Weighted L1 of box codes, (..., 10) to (...); terms whose target is NaN (unknown velocity) count nothing."""
    error = F.l1_loss(pred, target.nan_to_num(), reduction='none') * ~target.isnan()
    rest, velocity = error[..., : VELOCITY.start], error[..., VELOCITY]
    return rest.sum(-1) + VELOCITY_WEIGHT * velocity.sum(-1)


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
    away = grid.centers(code.device) - code[:, :, None, None, XY]
    sin, cos = code[..., 6, None, None], code[..., 7, None, None]
    along = away[..., 0] * cos + away[..., 1] * sin
    across = away[..., 1] * cos - away[..., 0] * sin
    half = (code[..., 2:4].exp() / 2).clamp(min=grid.cell_m * 0.71)[..., None, None]
    inside = (along.abs() < half[:, :, 0]) & (across.abs() < half[:, :, 1]) & valid[..., None, None]
    area = code.new_zeros(len(code), num_classes, *grid.shape)
    index = labels[..., None, None].expand_as(inside)
    return area.scatter_reduce(1, index, inside.to(code.dtype), reduce='amax')


@dataclass
class FrameSums:
    """Terms of one frame, not yet averaged.

    Attributes:
        terms: Sums over the batch's labelled samples by name.
        objects: Their objects in this frame, scalar.
        left: Their tracks whose object has left, scalar.
    """

    terms: dict[str, Tensor]
    objects: Tensor
    left: Tensor


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
        max_distance_m: Newborns are matched to objects within this distance; None: no limit.
        normalise: 'clip': all frames' sums divided by all frames' objects, so that the scale does not depend on the
            clip's length. 'frame': as MUTR3D and UniAD are published, each frame's sums divided by that frame's objects
            and tracks whose object has left, then added; the scale grows with the clip.

    Raises:
        ValueError: Unknown ``normalise``.
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
        max_distance_m: float | None = 3.0,
        normalise: str = 'clip',
    ) -> None:
        super().__init__()
        if normalise not in NORMALISERS:
            raise ValueError(
                f"track head: loss.normalise '{normalise}' is not one of {NORMALISERS}"
            )
        self.grid, self.num_classes, self.normalise = grid, num_classes, normalise
        self.cls_weight, self.box_weight, self.heat_weight = cls_weight, box_weight, heat_weight
        self.seg_weight, self.sigma_m, self.max_distance_m = seg_weight, sigma_m, max_distance_m
        self.register_buffer('around_m', neighbourhood(grid.cell_m), persistent=False)

    @property
    def matching(self) -> dict[str, float | None]:
        """Weights and gate of :func:`assign`."""
        return dict(
            cls_weight=self.cls_weight,
            box_weight=self.box_weight,
            max_distance_m=self.max_distance_m,
        )

    def frame(
        self,
        outputs: dict,
        targets: FrameTargets,
        matched: Tensor,
        keep: Tensor,
        query_labels: Tensor | None = None,
    ) -> FrameSums:
        """Sums over one frame.

        Args:
            outputs: What the head's ``decode`` returns.
            targets: The frame's objects.
            matched: (D, B, Q) of each decoder layer, indices into a sample's targets, -1 for none.
            keep: (B,) one where the sample is labelled for tracking, else zero.
            query_labels: (B, Q) class of each query, where that is decided beforehand: it learns that score only.
        """
        terms = self._dense(outputs, targets, keep)
        ids, valid = outputs['queries'].ids, outputs['queries'].valid
        weight = keep[:, None] * valid
        for i, ((logits, code), match) in enumerate(zip(outputs['layers'], matched, strict=True)):
            index, found = match.clamp(min=0), match >= 0
            labels = targets.labels.gather(1, index)
            goal = F.one_hot(labels, self.num_classes) * found.unsqueeze(-1)
            cls = sigmoid_focal(logits, goal.to(logits.dtype))
            if query_labels is not None:
                cls = cls.gather(2, query_labels.unsqueeze(-1))
            cls = cls.sum(-1)
            aim = targets.code.gather(1, index.unsqueeze(-1).expand(-1, -1, CODE_SIZE))
            terms[f'd{i}_cls'] = (cls * weight).sum() * self.cls_weight
            terms[f'd{i}_box'] = (box_error(code, aim) * found * weight).sum() * self.box_weight
        left = ((ids >= 0) & (matched[-1] < 0)) * weight
        return FrameSums(terms, targets.valid.sum(), left.sum())

    def bumps(self, targets: FrameTargets) -> Tensor:
        """Target of the centre heatmap, (B, L, H, W) in [0, 1]: a Gaussian at each object."""
        centers, valid = targets.code[..., :2], targets.valid
        return draw_centers(
            centers, targets.labels, valid, self.grid, self.num_classes, self.sigma_m
        )

    def _dense(self, outputs: dict, targets: FrameTargets, keep: Tensor) -> dict[str, Tensor]:
        """Heatmap, footprints, and, with queries from peaks, boxes at the cells that hold a centre."""
        code, labels, valid = targets.code, targets.labels, targets.valid
        heat = (heatmap_focal_loss(outputs['heat'], self.bumps(targets)) * keep).sum()
        area = footprints(code, labels, valid, self.grid, self.num_classes)
        seg = (segmentation_bce(outputs['segmentation'], area) * keep).sum() * area[0].numel()
        terms = dict(heat=heat * self.heat_weight, seg=seg * self.seg_weight)
        if 'dense_code' in outputs:
            spots = code[:, :, None, XY] + self.around_m
            cell, inside = self.grid.cell_of(spots)
            index = cell.flatten(1).unsqueeze(-1).expand(-1, -1, CODE_SIZE)
            pred = outputs['dense_code'].gather(1, index).view(*spots.shape[:3], CODE_SIZE)
            error = box_error(pred, code.unsqueeze(2).expand_as(pred)) * inside
            box = (error.mean(-1) * valid * keep[:, None]).sum()
            terms['dense_box'] = box * self.box_weight
        return terms

    def collect(self, frames: Sequence[FrameSums]) -> dict[str, Tensor]:
        """Average a clip's sums over its objects on all processes.

        Args:
            frames: Results of :meth:`frame`.

        Returns:
            ``loss_track_<term>`` scalars.
        """
        counts = torch.stack([f.objects.float() for f in frames])
        if self.normalise == 'frame':
            counts = counts + torch.stack([f.left.float() for f in frames])
        # gradients are averaged over the processes, hence a process's share of the number of objects
        all_reduce(counts)
        if self.normalise == 'clip':
            counts = counts.sum().expand(len(frames))
        counts = counts.clamp(min=1) / get_world_size()
        return {
            f'loss_track_{name}': torch.stack([f.terms[name] for f in frames]).div(counts).sum()
            for name in frames[0].terms
        }
