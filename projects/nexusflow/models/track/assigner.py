# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Tracklet-aware label assignment (MOTR, Zeng et al., 2022, section 3.3): inherit by id, match the newborns only."""

from __future__ import annotations

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ..matching import match_within
from .box_code import XY, encode_boxes

# x, y and the size and height terms; the last four (heading, velocity) do not decide who is who
COST_TERMS = slice(0, 6)


class FrameTargets:
    """Ground truth of one sample in one frame.

    Attributes:
        code: (K, 10) boxes, NaN velocity where unknown.
        labels: (K,) classes.
        ids: (K,) instance ids.
    """

    def __init__(self, gt: InstanceData, labelled: bool, device: torch.device) -> None:
        code = encode_boxes(gt.bboxes_3d).to(device)
        keep = slice(None) if labelled else slice(0, 0)
        self.code = code[keep]
        self.labels = torch.as_tensor(gt.labels_3d, device=device).long()[keep]
        self.ids = torch.as_tensor(gt.instance_ids, device=device).long()[keep]


def assign(
    logits: Tensor,
    code: Tensor,
    query_ids: Tensor,
    targets: FrameTargets,
    cls_weight: float,
    box_weight: float,
    max_distance_m: float,
) -> Tensor:
    """Which object each query stands for in this frame.

    Args:
        logits: (Q, L) class logits.
        code: (Q, 10) boxes.
        query_ids: (Q,) instance id of a track query, -1 for newborns, -2 for padding.
        targets: The frame's objects.
        cls_weight: Weight of the focal class cost.
        box_weight: Weight of the L1 cost, per metre.
        max_distance_m: A newborn farther than this from an object's centre is not matched to it. DETR matches every
            object; with queries that start at peaks a far match is only noise.

    Returns:
        (Q,) index into the targets, -1 for none. A track query whose object has left gets -1.
    """
    matched = torch.full_like(query_ids, -1)
    if not len(targets.ids):
        return matched
    same = (query_ids[:, None] == targets.ids[None]) & (query_ids[:, None] >= 0)
    inherits = same.any(1)
    matched[inherits] = same[inherits].int().argmax(1)
    new_targets = (~same.any(0)).nonzero().flatten()
    new_queries = (query_ids == -1).nonzero().flatten()
    if len(new_targets) and len(new_queries):
        prob = logits[new_queries].sigmoid()
        positive = 0.25 * (1 - prob) ** 2 * -(prob + 1e-8).log()
        negative = 0.75 * prob**2 * -(1 - prob + 1e-8).log()
        cost = cls_weight * (positive - negative)[:, targets.labels[new_targets]]
        distance = torch.cdist(
            code[new_queries][:, COST_TERMS], targets.code[new_targets][:, COST_TERMS], p=1
        )
        near = (
            torch.cdist(code[new_queries][:, XY], targets.code[new_targets][:, XY]) < max_distance_m
        )
        rows, cols = match_within(cost + box_weight * distance, near)
        matched[new_queries[rows]] = new_targets[cols]
    return matched
