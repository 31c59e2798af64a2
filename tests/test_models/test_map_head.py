# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Map head: what it gives, and what its losses see."""

import pytest
import torch
from mmengine.structures import InstanceData

from nexusflow.models.bev.grid import BEVGrid
from nexusflow.models.map.loss import MapLoss
from nexusflow.models.map.map_head import NexusMapHead
from nexusflow.models.map.targets import MapTargets
from nexusflow.testing import make_clip_batch

CHANNELS, QUERIES, POINTS = 16, 6, 20
FINE = dict(range_m=(-15.0, -30.0, 15.0, 30.0), cell_m=1.5)


@pytest.fixture
def head(bev_grid, map_grid):
    return NexusMapHead(
        CHANNELS,
        dict(range_m=bev_grid.range_m, cell_m=bev_grid.cell_m),
        dict(range_m=map_grid.range_m, cell_m=map_grid.cell_m),
        num_queries=QUERIES,
        num_layers=2,
    )


@pytest.fixture
def bev():
    return torch.randn(2, CHANNELS, 16, 16)


def samples_of(*tasks):
    """One sample for each sequence of labelled tasks."""
    return make_clip_batch(len(tasks), 1, (32, 32), tasks)['data_samples'][0]


def without_elements(sample):
    sample.gt_map = sample.gt_map[torch.zeros(0, dtype=torch.long)]
    return sample


def total(losses):
    return sum(losses.values())


def test_outputs(head, bev, map_grid):
    out = head(bev)
    rows, cols = map_grid.shape
    assert out['bev'].shape == (2, CHANNELS, rows, cols)
    assert out['queries'].shape == (2, QUERIES, CHANNELS)
    assert out['heat'].shape == out['segmentation'].shape == (2, 3, rows, cols)
    assert out['anchor_pts_m'].shape == (2, rows * cols, POINTS, 2)
    assert len(out['layers']) == 1 + len(head.layers)
    for logits, points in out['layers']:
        assert logits.shape == (2, QUERIES, 3)
        assert points.shape == (2, QUERIES, POINTS, 2)


def test_predictions_are_sorted_and_in_range(head, bev):
    for pred in head.eval().predict(bev * 10):
        assert len(pred) == QUERIES
        assert (pred.scores.diff() <= 0).all()
        assert ((pred.scores >= 0) & (pred.scores <= 1)).all()
        assert ((pred.labels >= 0) & (pred.labels < 3)).all()
        assert pred.pts_m.shape == (QUERIES, POINTS, 2)
        assert (pred.pts_m.abs() <= torch.tensor([15.0, 30.0])).all()


def test_an_element_may_be_predicted_as_several_classes_but_keeps_its_points(head, bev):
    logits, points = head.eval()(bev)['layers'][-1]
    pred = head.predict(bev)[0]
    prob = logits[0].sigmoid()
    for score, label, pts in zip(pred.scores, pred.labels, pred.pts_m, strict=True):
        which = (prob[:, label] - score).abs().argmin()
        clamped = points[0, which].clamp(torch.tensor([-15.0, -30.0]), torch.tensor([15.0, 30.0]))
        torch.testing.assert_close(pts, clamped)


def test_losses_reach_every_parameter(head, bev):
    losses, _ = head.loss(bev, samples_of(('map',), ('map',)))
    assert all(name.startswith('loss_map_') for name in losses)
    total(losses).backward()
    assert [name for name, p in head.named_parameters() if p.grad is None] == []
    assert sum(p.grad.abs().sum() > 0 for p in head.parameters()) > 0.9 * len(
        list(head.parameters())
    )


def test_without_any_element_the_losses_are_finite_and_reach_every_parameter(head, bev):
    samples = [without_elements(sample) for sample in samples_of(('map',), ('map',))]
    losses, _ = head.loss(bev, samples)
    assert all(value.isfinite() for value in losses.values())
    total(losses).backward()
    assert [name for name, p in head.named_parameters() if p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in head.parameters())
    assert losses['loss_map_d0_pts'] == losses['loss_map_d0_dir'] == 0
    assert losses['loss_map_d0_cls'] > 0


def test_unlabelled_samples_give_exactly_zero_gradient(head, bev):
    bev.requires_grad_()
    losses, _ = head.loss(bev, samples_of(('track',), ()))
    assert all(value == 0 for value in losses.values())
    total(losses).backward()
    for name, p in head.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().max() == 0, name
    assert bev.grad.abs().max() == 0


def test_an_unlabelled_neighbour_changes_no_gradient(head, bev):
    head.eval()
    total(head.loss(bev, samples_of(('map',), ('track',)))[0]).backward()
    mixed = {name: p.grad.clone() for name, p in head.named_parameters()}
    head.zero_grad()
    total(head.loss(bev[:1], samples_of(('map',)))[0]).backward()
    for name, p in head.named_parameters():
        torch.testing.assert_close(p.grad, mixed[name], atol=1e-5, rtol=1e-4, msg=name)


def test_labels_of_unlabelled_samples_are_not_read(head, bev):
    samples = samples_of(('map',), ('track',))
    before, _ = head.loss(bev, samples)
    samples[1].gt_map.pts_m.fill_(float('nan'))
    samples[1].gt_map.labels.fill_(99)
    after, _ = head.loss(bev, samples)
    assert {k: v.item() for k, v in before.items()} == {k: v.item() for k, v in after.items()}


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
    targets = MapTargets([gt], POINTS, torch.device('cpu'))
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
    return MapLoss(BEVGrid(**FINE), 3, **kwargs)(outputs, targets, labelled)


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


def test_anchors_learn_their_element():
    grid = BEVGrid(**FINE)
    gt = make_elements()[1:2]
    targets, outputs = perfect_outputs(grid, make_elements())
    targets = MapTargets([gt], POINTS, torch.device('cpu'))
    ring = gt.pts_m[0, :-1].roll(5, 0).flip(0)
    ring = torch.cat([ring, ring[:1]])
    outputs['anchor_pts_m'] = ring.expand(1, grid.shape[0] * grid.shape[1], -1, -1)
    assert run_loss(outputs, targets)['loss_map_anchor_pts'] < 1e-5
    outputs['anchor_pts_m'] = outputs['anchor_pts_m'] + 0.1
    assert run_loss(outputs, targets)['loss_map_anchor_pts'] == pytest.approx(0.1, rel=1e-3)


def test_the_heatmap_learns_the_middle_of_an_element():
    grid, gt = BEVGrid(**FINE), make_elements()
    targets, outputs = perfect_outputs(grid, gt)
    heat = torch.zeros(1, 3, *grid.shape, requires_grad=True)
    run_loss({**outputs, 'heat': heat}, targets)['loss_map_heat'].backward()
    slope = heat.grad[0].flatten(1)
    cell, _ = grid.cell_of(targets.anchors_m[0, :, 0])
    assert (slope[gt.labels, cell] < 0).all()
    assert (slope[gt.labels.roll(1), cell] > 0).all()
    assert (slope[:, 0] > 0).all()


def test_losses_are_means_over_the_labelled_elements():
    gt = make_elements()
    targets, outputs = perfect_outputs(BEVGrid(**FINE), gt)
    logits, points = outputs['layers'][1]
    outputs['layers'] = [(logits * 0.01, points + 0.5)] * 2
    once = run_loss(outputs, targets)
    twice = {name: twofold(value) for name, value in outputs.items()}
    again = run_loss(twice, MapTargets([gt, gt], POINTS, torch.device('cpu')))
    for name, value in once.items():
        torch.testing.assert_close(again[name], value, msg=name)


def twofold(value):
    """Tensors, and those in lists and tuples, with their batch repeated."""
    if isinstance(value, torch.Tensor):
        return torch.cat([value, value])
    return type(value)(twofold(item) for item in value)
