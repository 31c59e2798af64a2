# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""All orders of an element are the same element."""

import pytest
import torch
from mmengine.structures import InstanceData

from nexusflow.models.map.targets import TargetBuilder, order_costs, order_table

POINTS = 6


def make_gt(lines, closed, labels=None):
    """Elements from (K, P, 2) points."""
    return InstanceData(
        pts_m=torch.as_tensor(lines, dtype=torch.float32).view(len(closed), POINTS, 2),
        is_closed=torch.tensor(closed, dtype=torch.bool),
        labels=torch.tensor(labels or [0] * len(closed), dtype=torch.long),
    )


def build(gts, pattern='both'):
    return TargetBuilder(POINTS, pattern)(gts)


def random_line():
    return torch.rand(POINTS, 2) * 20 - 10


def random_ring():
    ring = random_line()
    ring[-1] = ring[0]
    return ring


def ring_orders(ring, directions=2):
    """Every start in one or both directions, first vertex repeated, by list surgery."""
    corners = ring[:-1].tolist()
    orders = []
    for start in range(len(corners)):
        turned = corners[start:] + corners[:start]
        for way in (turned, turned[:1] + turned[:0:-1])[:directions]:
            orders.append(torch.tensor([*way, way[0]]))
    return orders


def cost_of(pred, target, closed, pattern='both'):
    """Cost of one prediction to one element."""
    targets = build([make_gt(target[None], [closed])], pattern)
    return order_costs(pred.view(1, 1, POINTS, 2), targets)[0].item()


def test_every_start_and_direction_of_a_ring_costs_nothing():
    ring = random_ring()
    orders = ring_orders(ring)
    assert len(orders) == 2 * (POINTS - 1)
    assert max(cost_of(order, ring, True) for order in orders) < 1e-6


def test_both_directions_of_a_line_cost_nothing():
    line = random_line()
    for pattern in ('both', 'v2'):
        assert cost_of(line, line, False, pattern) < 1e-6
        assert cost_of(line.flip(0), line, False, pattern) < 1e-6


def test_a_line_may_not_start_in_the_middle():
    ring = random_ring()
    turned = ring_orders(ring)[2]
    assert cost_of(turned, ring, True) < 1e-6
    assert cost_of(turned, ring, False) > 0.1


def test_v2_knows_every_start_in_the_given_direction_only():
    ring = random_ring()
    assert max(cost_of(order, ring, True, 'v2') for order in ring_orders(ring, 1)) < 1e-6
    assert min(cost_of(order.flip(0), ring, True, 'v2') for order in ring_orders(ring, 1)) > 0.1


def test_the_table_holds_each_order_of_a_ring_once():
    opened, closed = order_table(POINTS)
    assert len({tuple(row) for row in closed.tolist()}) == 2 * (POINTS - 1)
    assert {tuple(row) for row in opened.tolist()} == {(0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0)}
    assert (closed[:, 0] == closed[:, -1]).all()


@pytest.mark.parametrize('pattern', ['both', 'v2'])
@pytest.mark.parametrize('num_points', [2, 3, 20])
def test_the_first_order_is_the_given_one(num_points, pattern):
    opened, closed = order_table(num_points, pattern)
    assert opened[0].tolist() == list(range(num_points))
    assert closed[0].tolist() == [*range(num_points - 1), 0]
    assert opened[1].tolist() == list(range(num_points))[::-1]
    starts = num_points - 1
    assert len(closed) == max(2, 2 * starts if pattern == 'both' else starts)


def test_unknown_patterns_are_refused():
    with pytest.raises(ValueError, match="order_pattern 'v4' is not one of both, v2"):
        order_table(POINTS, 'v4')


@pytest.mark.parametrize(('pattern', 'directions'), [('both', 2), ('v2', 1)])
def test_costs_equal_brute_force(pattern, directions):
    rings, lines = [random_ring() for _ in range(2)], [random_line() for _ in range(2)]
    gts = [
        make_gt(torch.stack([rings[0], lines[0], rings[1]]), [True, False, True]),
        make_gt(lines[1][None], [False]),
    ]
    targets = build(gts, pattern)
    pred = torch.randn(2, 4, POINTS, 2) * 8
    costs, order = order_costs(pred, targets)
    assert costs.shape == order.shape == (2, 4, 3)
    for b, gt in enumerate(gts):
        for k in range(len(gt)):
            points = gt.pts_m[k]
            same = ring_orders(points, directions) if gt.is_closed[k] else [points, points.flip(0)]
            for n in range(4):
                best = min((pred[b, n] - other).abs().mean().item() for other in same)
                assert costs[b, n, k].item() == pytest.approx(best, rel=1e-4)
                chosen = targets.orders_m[b, k, order[b, n, k]]
                assert (pred[b, n] - chosen).abs().mean().item() == pytest.approx(best, rel=1e-4)


def test_costs_of_layers_are_those_of_each_layer():
    targets = build([make_gt(torch.stack([random_ring(), random_line()]), [True, False])])
    pred = torch.randn(3, 1, 4, POINTS, 2) * 8
    costs, order = order_costs(pred, targets)
    for layer in range(3):
        one, best = order_costs(pred[layer], targets)
        torch.testing.assert_close(costs[layer], one)
        assert torch.equal(order[layer], best)


def test_samples_are_padded_and_unlabelled_ones_are_empty():
    first = make_gt(
        torch.stack([random_line(), random_ring(), random_line()]), [0, 1, 0], [0, 2, 1]
    )
    last = make_gt(random_line()[None], [False], [2])
    targets = build([first, None, make_gt([], []), last])
    assert targets.valid.tolist() == [[True] * 3, [False] * 3, [False] * 3, [True, False, False]]
    assert targets.counts == [3, 0, 0, 1]
    assert targets.labels.tolist() == [[0, 2, 1], [0, 0, 0], [0, 0, 0], [2, 0, 0]]
    assert targets.closed.tolist()[0] == [False, True, False]
    assert targets.orders_m.shape == (4, 3, 2 * (POINTS - 1), POINTS, 2)
    torch.testing.assert_close(targets.orders_m[0, :, 0], first.pts_m)
    torch.testing.assert_close(targets.orders_m[3, 0, 1], last.pts_m[0].flip(0))
    assert (targets.orders_m[1:3] == 0).all()


def test_no_element_at_all():
    targets = build([make_gt([], []), None])
    assert not targets.valid.any()
    assert targets.labels.shape == (2, 1)
    costs, _ = order_costs(torch.randn(2, 5, POINTS, 2), targets)
    assert costs.shape == (2, 5, 1)
    assert costs.isfinite().all()


def test_another_number_of_points_is_refused():
    with pytest.raises(
        ValueError, match='elements of 6 points, but the map head has num_points 20'
    ):
        TargetBuilder(20)([make_gt(random_line()[None], [False])])


def test_the_order_table_moves_with_the_model_but_is_not_saved():
    builder = TargetBuilder(POINTS).to('meta')
    assert builder.orders.device.type == 'meta'
    assert not builder.state_dict()
