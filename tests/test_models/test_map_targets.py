# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""All orders of an element are the same element."""

import pytest
import torch
from mmengine.structures import InstanceData

from nexusflow.models.map.targets import MapTargets, order_costs, order_table

POINTS = 6
CPU = torch.device('cpu')


def make_gt(lines, closed, labels=None):
    """Elements from (K, P, 2) points."""
    return InstanceData(
        pts_m=torch.as_tensor(lines, dtype=torch.float32).view(len(closed), POINTS, 2),
        is_closed=torch.tensor(closed, dtype=torch.bool),
        labels=torch.tensor(labels or [0] * len(closed), dtype=torch.long),
    )


def random_line():
    return torch.rand(POINTS, 2) * 20 - 10


def random_ring():
    ring = random_line()
    ring[-1] = ring[0]
    return ring


def ring_orders(ring):
    """Every start in both directions, first vertex repeated, by list surgery."""
    corners = ring[:-1].tolist()
    orders = []
    for start in range(len(corners)):
        turned = corners[start:] + corners[:start]
        for way in (turned, turned[:1] + turned[:0:-1]):
            orders.append(torch.tensor([*way, way[0]]))
    return orders


def cost_of(pred, target, closed):
    """Cost of one prediction to one element."""
    targets = MapTargets([make_gt(target[None], [closed])], POINTS, CPU)
    return order_costs(pred.view(1, 1, POINTS, 2), targets)[0].item()


def test_every_start_and_direction_of_a_ring_costs_nothing():
    ring = random_ring()
    orders = ring_orders(ring)
    assert len(orders) == 2 * (POINTS - 1)
    assert max(cost_of(order, ring, True) for order in orders) < 1e-6


def test_both_directions_of_a_line_cost_nothing():
    line = random_line()
    assert cost_of(line, line, False) < 1e-6
    assert cost_of(line.flip(0), line, False) < 1e-6


def test_a_line_may_not_start_in_the_middle():
    ring = random_ring()
    turned = ring_orders(ring)[2]
    assert cost_of(turned, ring, True) < 1e-6
    assert cost_of(turned, ring, False) > 0.1


def test_the_table_holds_each_order_of_a_ring_once():
    opened, closed = order_table(POINTS)
    assert len({tuple(row) for row in closed.tolist()}) == 2 * (POINTS - 1)
    assert {tuple(row) for row in opened.tolist()} == {(0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0)}
    assert (closed[:, 0] == closed[:, -1]).all()


def test_costs_equal_brute_force():
    rings, lines = [random_ring() for _ in range(2)], [random_line() for _ in range(2)]
    gts = [
        make_gt(torch.stack([rings[0], lines[0], rings[1]]), [True, False, True]),
        make_gt(lines[1][None], [False]),
    ]
    targets = MapTargets(gts, POINTS, CPU)
    pred = torch.randn(2, 4, POINTS, 2) * 8
    costs, order = order_costs(pred, targets)
    assert costs.shape == order.shape == (2, 4, 3)
    for b, gt in enumerate(gts):
        for k in range(len(gt)):
            points = gt.pts_m[k]
            same = ring_orders(points) if gt.is_closed[k] else [points, points.flip(0)]
            for n in range(4):
                best = min((pred[b, n] - other).abs().mean().item() for other in same)
                assert costs[b, n, k].item() == pytest.approx(best, rel=1e-4)
                chosen = targets.orders_m[b, k, order[b, n, k]]
                assert (pred[b, n] - chosen).abs().mean().item() == pytest.approx(best, rel=1e-4)


def test_the_first_anchor_is_the_middle():
    square = [[0, 0], [4, 0], [4, 4], [2, 4], [0, 4], [0, 0]]
    line = [[0, 0], [1, 0], [2, 0], [3, 0], [4, 0], [5, 0]]
    targets = MapTargets([make_gt([line, square], [False, True], [0, 1])], POINTS, CPU)
    middle, centroid = targets.anchors_m[0, :, 0]
    torch.testing.assert_close(middle, torch.tensor([2.5, 0.0]), atol=0.5, rtol=0)
    torch.testing.assert_close(centroid, torch.tensor([2.0, 2.4]))
    assert targets.labels.tolist() == [[0, 1]]


def test_other_anchors_lie_on_the_line_or_near_the_centroid():
    line = torch.stack([torch.linspace(0, 30, 20), torch.zeros(20)], -1)
    ring = torch.cat([line[:10], line[:9].flip(0) + torch.tensor([0.0, 8.0]), line[:1]])
    gt = InstanceData(
        pts_m=torch.stack([line, ring]),
        is_closed=torch.tensor([False, True]),
        labels=torch.tensor([0, 1]),
    )
    on_line, on_ring = MapTargets([gt], 20, CPU).anchors_m[0]
    assert (on_line[:, 1] == 0).all()
    assert ((on_line[:, 0] > 8) & (on_line[:, 0] < 22)).all()
    assert (on_ring - ring[:-1].mean(0)).norm(dim=-1).max() < 2.0


def test_samples_are_padded():
    gts = [make_gt(torch.stack([random_line()] * 3), [False] * 3, [0, 1, 2]), make_gt([], [])]
    targets = MapTargets(gts, POINTS, CPU)
    assert targets.valid.tolist() == [[True] * 3, [False] * 3]
    assert targets.orders_m.shape == (2, 3, 2 * (POINTS - 1), POINTS, 2)


def test_no_element_at_all():
    targets = MapTargets([make_gt([], []), make_gt([], [])], POINTS, CPU)
    assert not targets.valid.any()
    assert targets.labels.shape == (2, 1)
    costs, _ = order_costs(torch.randn(2, 5, POINTS, 2), targets)
    assert costs.shape == (2, 5, 1)
    assert costs.isfinite().all()
