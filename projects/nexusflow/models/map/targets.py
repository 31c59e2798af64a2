# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Map targets: the equivalent point orders of an element (MapTR, Liao et al., 2023, section 3.2), as gather tables."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor


def order_table(num_points: int) -> Tensor:
    """Indices of all orders that describe the same element.

    A closed ring of P points repeats its first as its last, so it has P - 1 starts in two directions. An open line
    has two orders, repeated to the same number of rows.

    Returns:
        (2, 2 * (P - 1), P) long: row 0 for open lines, row 1 for closed rings.

    Example:
        >>> order_table(3)[1].tolist()
        [[0, 1, 0], [1, 0, 1], [0, 1, 0], [1, 0, 1]]
    """
    steps = torch.arange(num_points)
    starts = torch.arange(num_points - 1)
    ring = (starts[:, None] + steps[None]) % (num_points - 1)
    closed = torch.cat([ring, ring.flip(1)])
    opened = torch.stack([steps, steps.flip(0)]).repeat(num_points - 1, 1)
    return torch.stack([opened, closed])


def middle_third(num_points: int) -> Tensor:
    """Indices of the middle third of a line's points, the middle first and then outwards.

    Example:
        >>> middle_third(9).tolist()
        [4, 3, 5]
    """
    count = max(num_points // 6, 1)
    steps = torch.arange(1, count + 1)
    middle = num_points // 2
    return torch.cat(
        [torch.tensor([middle]), torch.stack([middle - steps, middle + steps], 1).flatten()]
    )


def ring_spots(count: int, radius_m: float = 0.75) -> Tensor:
    """The centre and spots on a circle around it: (count, 2) offsets in metres."""
    angle = torch.arange(count - 1) * (2 * torch.pi / max(count - 1, 1))
    circle = radius_m * torch.stack([angle.cos(), angle.sin()], dim=-1)
    return torch.cat([torch.zeros(1, 2), circle])


class MapTargets:
    """Ground truth of a batch, padded to the largest number of elements.

    Attributes:
        labels: (B, K) class indices.
        orders_m: (B, K, O, P, 2) points in every equivalent order, metres, lidar frame.
        anchors_m: (B, K, S, 2) where an element is anchored: along the middle third of a line, around the centroid of
            a ring; the first is the very middle.
        valid: (B, K) which slots hold an element.
    """

    def __init__(
        self, instances: Sequence[InstanceData], num_points: int, device: torch.device
    ) -> None:
        batch, slots = len(instances), max([len(gt) for gt in instances] + [1])
        table = order_table(num_points).to(device)
        pts = torch.zeros(batch, slots, num_points, 2, device=device)
        closed = torch.zeros(batch, slots, dtype=torch.long, device=device)
        self.labels = torch.zeros(batch, slots, dtype=torch.long, device=device)
        self.valid = torch.zeros(batch, slots, dtype=torch.bool, device=device)
        for b, gt in enumerate(instances):
            k = len(gt)
            if k:
                pts[b, :k] = torch.as_tensor(gt.pts_m, dtype=pts.dtype, device=device)
                closed[b, :k] = torch.as_tensor(gt.is_closed, device=device).long()
                self.labels[b, :k] = torch.as_tensor(gt.labels, device=device)
                self.valid[b, :k] = True
        orders = table[closed]
        index = orders.flatten(2).unsqueeze(-1).expand(-1, -1, -1, 2)
        self.orders_m = pts.gather(2, index).unflatten(2, orders.shape[2:])
        line = pts[:, :, middle_third(num_points)]
        ring = pts[:, :, :-1].mean(2, keepdim=True) + ring_spots(line.shape[2]).to(device)
        self.anchors_m = torch.where(closed.bool()[..., None, None], ring, line)


def order_costs(pred_m: Tensor, targets: MapTargets) -> tuple[Tensor, Tensor]:
    """Distance of every prediction to every element under its best order.

    Args:
        pred_m: (B, N, P, 2) metres.
        targets: Ground truth.

    Returns:
        Mean absolute coordinate difference (B, N, K) in metres, and the best order's index (B, N, K).
    """
    batch, slots, orders = targets.orders_m.shape[:3]
    flat = targets.orders_m.flatten(3).flatten(1, 2)
    cost = torch.cdist(pred_m.flatten(2), flat, p=1) / flat.shape[-1]
    return cost.view(batch, -1, slots, orders).min(-1)
