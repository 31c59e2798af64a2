# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What the map head's losses see."""

import pytest
import torch
from mmengine.structures import InstanceData

from nexusflow.models.bev.grid import BEVGrid
from nexusflow.models.map.loss import MapLoss
from nexusflow.models.map.targets import TargetBuilder

POINTS = 20
FINE = dict(range_m=(-15.0, -30.0, 15.0, 30.0), cell_m=1.5)


def make_elements():
    """A line, a ring and a line of three classes."""
    t = torch.linspace(0, 1, POINTS)
    angle = t * 2 * torch.pi
    line = torch.stack([t * 6 - 12, t * 20 - 25], -1)
    ring = torch.stack([4 + 3 * angle.cos(), 10 + 3 * angle.sin()], -1)
    bend = torch.stack([8 - 6 * t**2, 5 - 20 * t], -1)
    return InstanceData(
        labels=torch.tensor([0, 1, 2]),
        pts_m=torch.stack([line, ring, bend]),
        is_closed=torch.tensor([False, True, False]),
    )


def perfect_outputs(grid, gt):
    """Outputs that say what the ground truth says, in other orders of points and elements."""
    rows, cols = grid.shape
    targets = TargetBuilder(POINTS)([gt])
    ring = gt.pts_m[1, :-1].roll(7, 0)
    points = torch.stack([gt.pts_m[0].flip(0), torch.cat([ring, ring[:1]]), gt.pts_m[2]])
    segmentation = torch.full((1, 3, rows * cols), -20.0)
    for label, line in zip(gt.labels, gt.pts_m, strict=True):
        dense = torch.lerp(line[:-1], line[1:], torch.linspace(0, 1, 500).view(-1, 1, 1))
        segmentation[0, label, grid.cell_of(dense)[0].flatten()] = 20.0
    logits = torch.full((1, 5, 3), -20.0)
    queries = torch.tensor([3, 0, 4])
    logits[0, queries, gt.labels] = 20.0
    layer = torch.zeros(1, 5, POINTS, 2)
    layer[0, queries] = points
    return targets, dict(
        heat=torch.zeros(1, 3, rows, cols),
        segmentation=segmentation.view(1, 3, rows, cols),
        anchor_pts_m=torch.zeros(1, rows * cols, POINTS, 2),
        layers=[(logits, layer)] * 3,
    )


def run_loss(outputs, targets, **kwargs):
    labelled = torch.ones(len(targets.labels), dtype=torch.bool)
    return MapLoss(BEVGrid(**FINE), 3, POINTS, **kwargs)(outputs, targets, labelled)


def test_perfect_elements_cost_nothing():
    targets, outputs = perfect_outputs(BEVGrid(**FINE), make_elements())
    losses = run_loss(outputs, targets, seg_weight=1.0)
    layers = {name: value for name, value in losses.items() if name.startswith('loss_map_d')}
    assert len(layers) == 2 * 3
    assert max(layers.values()) < 1e-4
    assert losses['loss_map_seg'] < 0.05


def test_a_shift_costs_the_weight_of_the_points():
    targets, outputs = perfect_outputs(BEVGrid(**FINE), make_elements())
    logits, points = outputs['layers'][1]
    outputs['layers'][1] = (logits, points + 0.1)
    losses = run_loss(outputs, targets, pts_weight=3.0)
    assert losses['loss_map_d0_pts'] == pytest.approx(0.3, rel=1e-4)
    assert losses['loss_map_d0_dir'] == pytest.approx(0.0, abs=1e-4)
    assert losses['loss_map_d1_pts'] == pytest.approx(0.0, abs=1e-4)


def test_a_prediction_too_far_away_is_no_match():
    targets, outputs = perfect_outputs(BEVGrid(**FINE), make_elements())
    logits, points = outputs['layers'][1]
    outputs['layers'][1] = (logits, points + 0.1)
    assert run_loss(outputs, targets, max_distance_m=0.01)['loss_map_d0_pts'] == 0
    # three sure predictions that match nothing are three false positives
    assert run_loss(outputs, targets, max_distance_m=0.01)['loss_map_d0_cls'] > 10


def test_losses_are_means_over_the_labelled_elements():
    gt = make_elements()
    targets, outputs = perfect_outputs(BEVGrid(**FINE), gt)
    logits, points = outputs['layers'][1]
    outputs['layers'] = [(logits * 0.01, points + 0.5)] * 2
    once = run_loss(outputs, targets)
    twice = {name: twofold(value) for name, value in outputs.items()}
    again = run_loss(twice, TargetBuilder(POINTS)([gt, gt]))
    for name, value in once.items():
        torch.testing.assert_close(again[name], value, msg=name)


def test_autocast_changes_no_loss_of_single_precision_outputs():
    targets, outputs = perfect_outputs(BEVGrid(**FINE), make_elements())
    logits, points = outputs['layers'][1]
    outputs['layers'][1] = (logits * 0.01, points + 0.1234)
    expected = run_loss(outputs, targets)
    with torch.autocast('cpu', torch.bfloat16):
        losses = run_loss(outputs, targets)
    assert expected['loss_map_d0_pts'] > 0.1
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-6, atol=1e-6, msg=name)


def twofold(value):
    """Tensors, and those in lists and tuples, with their batch repeated."""
    if isinstance(value, torch.Tensor):
        return torch.cat([value, value])
    return type(value)(twofold(item) for item in value)


def one_layer(logits, points):
    """Outputs of a head with one decoder layer and nothing else."""
    return dict(layers=[(logits, points)] * 2)


def ring_orders(ring):
    """Every start in both directions of a closed ring (P, 2), by list surgery."""
    corners = ring[:-1].tolist()
    for start in range(len(corners)):
        turned = corners[start:] + corners[:start]
        yield torch.tensor([*turned, turned[0]])
        yield torch.tensor([turned[0], *turned[::-1]])


def test_every_start_and_direction_of_a_ring_is_perfect():
    ring = make_elements()[1:2]
    targets = TargetBuilder(POINTS)([ring])
    logits = torch.full((1, 1, 3), -20.0)
    logits[0, 0, 1] = 20.0
    orders = list(ring_orders(ring.pts_m[0]))
    assert len({tuple(map(tuple, order.tolist())) for order in orders}) == 2 * (POINTS - 1)
    for order in orders:
        losses = run_loss(one_layer(logits, order[None, None]), targets)
        assert set(losses) == {f'loss_map_d0_{term}' for term in ('cls', 'pts', 'dir')}
        assert max(losses.values()) < 1e-6


def test_terms_have_their_closed_form():
    line = torch.stack([torch.linspace(0, 19, POINTS), torch.zeros(POINTS)], -1)
    gt = InstanceData(labels=torch.tensor([2]), pts_m=line[None], is_closed=torch.tensor([False]))
    # 1 m to the side, and rising by 45 degrees
    pred = line + torch.stack([torch.zeros(POINTS), 1 + torch.arange(POINTS)], -1)
    logits = torch.tensor([[[-1.0, 0.5, 2.0]]])
    losses = run_loss(
        one_layer(logits, pred[None, None]),
        TargetBuilder(POINTS)([gt]),
        cls_weight=3.0,
        pts_weight=5.0,
        dir_weight=7.0,
        max_distance_m=None,
    )
    p = logits[0, 0].sigmoid()
    focal = -0.25 * (1 - p[2]) ** 2 * p[2].log()
    focal = focal - 0.75 * (p[:2] ** 2 * (1 - p[:2]).log()).sum()
    assert losses['loss_map_d0_cls'].item() == pytest.approx(3 * focal.item(), rel=1e-4)
    # mean over 40 coordinates of 0 and 1 .. 20
    assert losses['loss_map_d0_pts'].item() == pytest.approx(5 * 210 / 40, rel=1e-4)
    assert losses['loss_map_d0_dir'].item() == pytest.approx(7 * (1 - 0.5**0.5), rel=1e-4)


def test_an_element_without_length_is_learned_as_a_place():
    place = torch.tensor([3.0, -4.0]).expand(1, POINTS, 2)
    gt = InstanceData(labels=torch.tensor([0]), pts_m=place, is_closed=torch.tensor([True]))
    points = torch.randn(1, 2, POINTS, 2, requires_grad=True)
    losses = run_loss(
        one_layer(torch.zeros(1, 2, 3), points), TargetBuilder(POINTS)([gt]), max_distance_m=None
    )
    sum(losses.values()).backward()
    assert losses['loss_map_d0_dir'] == 0
    assert points.grad.isfinite().all()
    assert (points.grad != 0).sum() == 2 * POINTS
    still = place[None].clone().requires_grad_()
    losses = run_loss(one_layer(torch.zeros(1, 1, 3), still), TargetBuilder(POINTS)([gt]))
    sum(losses.values()).backward()
    assert losses['loss_map_d0_pts'] == losses['loss_map_d0_dir'] == 0
    assert still.grad.isfinite().all()


def test_layers_are_matched_by_themselves():
    targets, outputs = perfect_outputs(BEVGrid(**FINE), make_elements())
    logits, points = outputs['layers'][1]
    turned = (logits.flip(1), points.flip(1) + 0.2)
    both = run_loss(dict(layers=[turned, turned, (logits, points)]), targets)
    for i, layer in enumerate([turned, (logits, points)]):
        alone = run_loss(one_layer(*layer), targets)
        for term in ('cls', 'pts', 'dir'):
            torch.testing.assert_close(both[f'loss_map_d{i}_{term}'], alone[f'loss_map_d0_{term}'])


def extra_outputs(gt, repeats, shift):
    """Every element predicted ``repeats`` times among other queries, moved by ``shift`` metres."""
    logits = torch.full((1, 20, 3), -20.0)
    points = torch.zeros(1, 20, POINTS, 2)
    queries = torch.randperm(20)[: len(gt) * repeats]
    logits[0, queries, gt.labels.repeat(repeats)] = 20.0
    points[0, queries] = gt.pts_m.repeat(repeats, 1, 1) + shift
    return [(logits, points)] * 2


def test_an_element_is_matched_to_as_many_extra_queries_as_it_is_repeated():
    gt = make_elements()
    targets, outputs = perfect_outputs(BEVGrid(**FINE), gt)
    outputs = one_layer(*outputs['layers'][1])
    outputs['extra_layers'] = extra_outputs(gt, repeats=4, shift=0.5)
    losses = run_loss(outputs, targets, repeats=4, extra_weight=0.5, pts_weight=2.0)
    assert losses['loss_map_extra_d0_cls'] < 1e-6
    assert losses['loss_map_extra_d0_pts'].item() == pytest.approx(0.5 * 2.0 * 0.5, rel=1e-4)
    assert losses['loss_map_d0_pts'] < 1e-6
    # with fewer repeats the others are false positives
    fewer = run_loss(outputs, targets, repeats=3)
    assert fewer['loss_map_extra_d0_pts'].item() == pytest.approx(0.5, rel=1e-4)
    assert fewer['loss_map_extra_d0_cls'] > 1


def test_more_repeats_than_extra_queries():
    gt = make_elements()
    targets, outputs = perfect_outputs(BEVGrid(**FINE), gt)
    outputs['extra_layers'] = extra_outputs(gt, repeats=2, shift=0.0)
    losses = run_loss(outputs, targets, repeats=30, max_distance_m=None)
    assert all(value.isfinite() for value in losses.values())


def test_outputs_that_are_not_finite_show_in_the_loss_and_do_not_stop_the_matching():
    targets, outputs = perfect_outputs(BEVGrid(**FINE), make_elements())
    logits, points = outputs['layers'][1]
    broken = logits.clone()
    broken[0, 3] = float('nan')
    losses = run_loss(one_layer(broken, points), targets)
    assert losses['loss_map_d0_cls'].isnan()


def test_one_copy_to_the_host_for_all_layers_and_none_hidden_in_an_operation(
    monkeypatch, operations
):
    targets, outputs = perfect_outputs(BEVGrid(**FINE), make_elements())
    copies, plain = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, 'cpu', lambda x: copies.append(x.shape) or plain(x))
    names = operations(lambda: run_loss(outputs, targets))
    assert copies == [(2, 5, 3)]
    waits = {'nonzero', '_local_scalar_dense', 'masked_select', 'item', 'unique', 'equal'}
    assert not waits & set(names)
