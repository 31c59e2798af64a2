# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Tracklet-aware label assignment (MOTR, Zeng et al., 2022, section 3.3): inherit by id, match the newborns only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ..focal import focal_cost
from ..matching import match_batch
from .box_code import CODE_SIZE, XY, encode_boxes
from .queries import NEWBORN, PADDING

# x, y and the size and height terms; the last four (heading, velocity) do not decide who is who
COST_TERMS = slice(0, 6)


@dataclass
class FrameTargets:
    """Ground truth of a batch in one frame, padded to the sample with the most objects (at least one row).

    Attributes:
        code: (B, K, 10) boxes, NaN velocity where unknown.
        labels: (B, K) classes.
        ids: (B, K) instance ids, -2 for padding.
        counts: Objects of each sample, on the host.
    """

    code: Tensor
    labels: Tensor
    ids: Tensor
    counts: tuple[int, ...]

    @property
    def valid(self) -> Tensor:
        """(B, K) false: padding."""
        return self.ids != PADDING

    @classmethod
    def stack(
        cls, gts: Sequence[InstanceData], labelled: Sequence[bool], device: torch.device
    ) -> FrameTargets:
        """Collect the objects of B samples; labels of samples that are not labelled are not read."""
        counts = tuple(
            len(gt.instance_ids) if on else 0 for gt, on in zip(gts, labelled, strict=True)
        )
        shape = len(counts), max([*counts, 1])
        code = torch.zeros(*shape, CODE_SIZE, device=device)
        labels = torch.zeros(shape, dtype=torch.long, device=device)
        ids = torch.full(shape, PADDING, dtype=torch.long, device=device)
        for b, (gt, count) in enumerate(zip(gts, counts, strict=True)):
            if count:
                code[b, :count] = encode_boxes(gt.bboxes_3d).to(device)
                labels[b, :count] = torch.as_tensor(gt.labels_3d, device=device).long()
                ids[b, :count] = torch.as_tensor(gt.instance_ids, device=device).long()
        return cls(code, labels, ids, counts)


@torch.no_grad()
def assign(
    layers: Sequence[tuple[Tensor, Tensor]],
    query_ids: Tensor,
    targets: FrameTargets,
    cls_weight: float,
    box_weight: float,
    max_distance_m: float | None,
    query_labels: Tensor | None = None,
) -> Tensor:
    """Which object each query stands for in this frame, in every decoder layer.

    What the tracks inherit is the same in all layers; newborns are matched in each by the Hungarian algorithm. The
    costs of all layers go to the host in one copy.

    Args:
        layers: For each of D layers (B, Q, L) class logits and (B, Q, 10) boxes.
        query_ids: (B, Q) instance id of a track query, -1 for newborns, -2 for padding.
        targets: The frame's objects.
        cls_weight: Weight of the focal class cost.
        box_weight: Weight of the L1 cost, per metre.
        max_distance_m: A newborn farther than this from an object's centre is not matched to it; None: no limit, as in
            DETR. With queries that start at peaks a far match is only noise.
        query_labels: (B, Q) class of each query, where that is decided beforehand: a newborn is matched to objects of
            its class only. None: the cost decides.

    Returns:
        (D, B, Q) index into the targets, -1 for none. A track query whose object has left gets -1.
    """
    same = (query_ids[..., None] == targets.ids[:, None]) & (query_ids >= 0)[..., None]
    inherited = torch.where(same.any(2), same.int().argmax(2), -1)
    matched = inherited.repeat(len(layers), 1, 1)
    open_pairs = (query_ids == NEWBORN)[..., None] & (targets.valid & ~same.any(1))[:, None]
    if query_labels is not None:
        open_pairs = open_pairs & (query_labels[..., None] == targets.labels[:, None])
    allowed = open_pairs.expand(len(layers), -1, -1, -1)
    if max_distance_m is not None:
        code = torch.stack([code for _, code in layers])
        allowed = allowed & (torch.cdist(code[..., XY], targets.code[..., XY]) < max_distance_m)
    costs = [pair_cost(*layer, targets, cls_weight, box_weight) for layer in layers]
    counts = targets.counts * len(layers)
    sample, row, col = match_batch(torch.cat(costs), allowed.flatten(0, 1), counts)
    matched.flatten(0, 1)[sample, row] = col
    return matched


def pair_cost(
    logits: Tensor, code: Tensor, targets: FrameTargets, cls_weight: float, box_weight: float
) -> Tensor:
    """Focal class cost (Deformable DETR, Zhu et al., 2021) and L1 of the boxes: (B, Q, K)."""
    index = targets.labels[:, None].expand(-1, logits.shape[1], -1)
    distance = torch.cdist(code[..., COST_TERMS], targets.code[..., COST_TERMS], p=1)
    return cls_weight * focal_cost(logits).gather(2, index) + box_weight * distance
