# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Map targets: the equivalent point orders of an element (MapTR, Liao et al., 2023, section 3.2), as gather tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

PATTERNS = ('both', 'v2')


def order_table(num_points: int, pattern: str = 'both') -> Tensor:
    """Indices of all orders that describe the same element; the first is the order as given.

    A closed ring of P points repeats its first as its last, so it has P - 1 starts. An open line has two orders,
    which are repeated to the same number of rows.

    Args:
        num_points: Points P of an element, at least 2.
        pattern: 'both': every start in both directions, as the paper has it; 'v2': every start in the direction as
            given, as MapTR's and MapTRv2's configurations have it (they shift the ring's original vertices and
            resample after that; here the resampled points are shifted).

    Returns:
        (2, O, P) long: row 0 for open lines, row 1 for closed rings; O is 2 * (P - 1) or P - 1.

    Raises:
        ValueError: For another pattern.

    Example:
        >>> order_table(3)[1].tolist()
        [[0, 1, 0], [1, 0, 1], [0, 1, 0], [1, 0, 1]]
        >>> order_table(4, 'v2')[1].tolist()
        [[0, 1, 2, 0], [1, 2, 0, 1], [2, 0, 1, 2]]
    """
    if pattern not in PATTERNS:
        raise ValueError(f"order_pattern '{pattern}' is not one of {', '.join(PATTERNS)}")
    steps = torch.arange(num_points)
    starts = torch.arange(num_points - 1)
    closed = (starts[:, None] + steps[None]) % (num_points - 1)
    if pattern == 'both':
        closed = torch.cat([closed, closed.flip(1)])
    opened = torch.stack([steps, steps.flip(0)])[torch.arange(max(len(closed), 2)) % 2]
    return torch.stack([opened, closed.expand(len(opened), -1)])


@dataclass(frozen=True)
class MapTargets:
    """Ground truth of a batch, padded to the largest number of elements.

    Attributes:
        labels: (B, K) class indices.
        orders_m: (B, K, O, P, 2) points in every equivalent order, the given one first; metres, lidar frame.
        closed: (B, K) which elements are rings.
        valid: (B, K) which slots hold an element; those come first.
        counts: Elements of each sample, on the host.
    """

    labels: Tensor
    orders_m: Tensor
    closed: Tensor
    valid: Tensor
    counts: list[int]


class TargetBuilder(nn.Module):
    """Puts the ground truth of a batch together on the model's device, where it keeps the order table.

    Args:
        num_points: Points P of an element.
        pattern: See :func:`order_table`.
    """

    def __init__(self, num_points: int, pattern: str = 'both') -> None:
        super().__init__()
        self.num_points = num_points
        self.register_buffer('orders', order_table(num_points, pattern), persistent=False)

    def forward(self, instances: Sequence[InstanceData | None]) -> MapTargets:
        """Pad, and list every order of every element.

        Args:
            instances: B samples' ``gt_map`` (labels, pts_m, is_closed); None for one that is not labelled.

        Returns:
            The batch's targets.

        Raises:
            ValueError: If an element has another number of points.
        """
        device, counts = self.orders.device, [0 if gt is None else len(gt) for gt in instances]
        filled = [gt for gt, count in zip(instances, counts, strict=True) if count]
        slots = torch.arange(max([*counts, 1])) < torch.tensor(counts).unsqueeze(1)
        place, valid = slots.nonzero().to(device).unbind(1), slots.to(device)
        labels, closed = torch.zeros_like(valid, dtype=torch.long), torch.zeros_like(valid)
        pts = torch.zeros(*valid.shape, self.num_points, 2, device=device)
        if filled:
            given = torch.cat([torch.as_tensor(gt.pts_m) for gt in filled])
            if given.shape[1:] != pts.shape[2:]:
                raise ValueError(
                    f'gt_map.pts_m: elements of {given.shape[1]} points, but the map head has '
                    f'num_points {self.num_points}; give both the same number'
                )
            pts[place] = given.to(pts)
            labels[place] = torch.cat([torch.as_tensor(gt.labels) for gt in filled]).to(labels)
            closed[place] = torch.cat([torch.as_tensor(gt.is_closed) for gt in filled]).to(closed)
        orders = self.orders[closed.long()]
        source = orders.flatten(2).unsqueeze(-1).expand(-1, -1, -1, 2)
        orders_m = pts.gather(2, source).unflatten(2, orders.shape[2:])
        return MapTargets(labels, orders_m, closed, valid, counts)


def order_costs(pred_m: Tensor, targets: MapTargets) -> tuple[Tensor, Tensor]:
    """Distance of every prediction to every element under its best order.

    Args:
        pred_m: (..., B, N, P, 2) metres; leading dimensions are, for example, decoder layers.
        targets: Ground truth.

    Returns:
        Mean absolute coordinate difference (..., B, N, K) in metres, and the best order's index (..., B, N, K).
    """
    orders = targets.orders_m.shape[2]
    flat = targets.orders_m.flatten(3).flatten(1, 2)
    cost = torch.cdist(pred_m.flatten(-2), flat, p=1) / flat.shape[-1]
    return cost.unflatten(-1, (-1, orders)).min(-1)
