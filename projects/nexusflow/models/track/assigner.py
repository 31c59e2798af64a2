# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Tracklet-aware label assignment (MOTR, Zeng et al., 2022, section 3.3): inherit by id, match the newborns only."""

from __future__ import annotations

import torch
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .box_code import encode_boxes

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
) -> Tensor:
    """Which object each query stands for in this frame.

    Args:
        logits: (Q, L) class logits.
        code: (Q, 10) boxes.
        query_ids: (Q,) instance id of a track query, -1 for newborns, -2 for padding.
        targets: The frame's objects.
        cls_weight: Weight of the focal class cost.
        box_weight: Weight of the L1 cost, per metre.

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
        rows, cols = linear_sum_assignment((cost + box_weight * distance).cpu().numpy())
        matched[new_queries[torch.as_tensor(rows)]] = new_targets[torch.as_tensor(cols)]
    return matched
