# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Anchors of the map head: where they are, what they learn, which become queries."""

import pytest
import torch
from mmengine.structures import InstanceData

from nexusflow.models.bev.grid import BEVGrid
from nexusflow.models.map.anchor_loss import AnchorLoss
from nexusflow.models.map.anchors import AnchorQueries
from nexusflow.models.map.targets import TargetBuilder

POINTS = 20
GRID = BEVGrid((-15.0, -30.0, 15.0, 30.0), 1.5)


def make_elements():
    """A straight line and a ring."""
    line = torch.stack([torch.linspace(-9, 12, POINTS), torch.full((POINTS,), 2.0)], -1)
    angle = torch.linspace(0, 2 * torch.pi, POINTS)
    ring = torch.stack([4 + 3 * angle.cos(), -10 + 3 * angle.sin()], -1)
    return InstanceData(
        labels=torch.tensor([0, 1]),
        pts_m=torch.stack([line, ring]),
        is_closed=torch.tensor([False, True]),
    )


@pytest.fixture
def targets():
    return TargetBuilder(POINTS)([make_elements()])


@pytest.fixture
def loss():
    return AnchorLoss(GRID, 3, POINTS, sigma_m=1.0)


@pytest.fixture
def queries():
    return AnchorQueries(8, GRID, 3, POINTS, 4)


def maps(heat=None, points=None):
    rows, cols = GRID.shape
    points = torch.zeros(POINTS, 2) if points is None else points
    return dict(
        heat=torch.zeros(1, 3, rows, cols) if heat is None else heat,
        anchor_pts_m=points.expand(1, rows * cols, POINTS, 2),
    )


def test_the_first_spot_is_the_middle(loss, targets):
    line, ring = loss.spots_m(targets)[0, :, 0]
    torch.testing.assert_close(line, torch.tensor([1.5, 2.0]), atol=0.6, rtol=0)
    torch.testing.assert_close(ring, torch.tensor([4.0, -10.0]), atol=1e-4, rtol=0)


def test_other_spots_lie_on_the_line_or_near_the_centroid(loss, targets):
    line, ring = loss.spots_m(targets)[0]
    assert (line[:, 1] == 2).all()
    assert ((line[:, 0] > -3) & (line[:, 0] < 6)).all()
    assert (ring - torch.tensor([4.0, -10.0])).norm(dim=-1).max() < 1


def test_anchors_learn_their_element_in_any_order(loss):
    gt = make_elements()[1:2]
    ring = gt.pts_m[0, :-1].roll(5, 0).flip(0)
    ring = torch.cat([ring, ring[:1]])
    targets = TargetBuilder(POINTS)([gt])
    assert loss(maps(points=ring), targets)[1].item() < 1e-5
    assert loss(maps(points=ring + 0.1), targets)[1].item() == pytest.approx(0.1, rel=1e-3)


def test_the_heatmap_learns_the_middle_of_an_element(loss, targets):
    heat = torch.zeros(1, 3, *GRID.shape, requires_grad=True)
    loss(maps(heat), targets)[0].sum().backward()
    slope = heat.grad[0].flatten(1)
    cell, _ = GRID.cell_of(loss.spots_m(targets)[0, :, 0])
    labels = torch.tensor([0, 1])
    assert (slope[labels, cell] < 0).all()
    assert (slope[labels.flip(0), cell] > 0).all()
    assert (slope[:, 0] > 0).all()


def test_samples_without_elements_have_an_empty_heatmap(loss):
    heat, points = loss(maps(torch.full((1, 3, *GRID.shape), -30.0)), TargetBuilder(POINTS)([None]))
    assert heat.item() < 1e-5
    assert points.item() == 0


def peaked(queries, cells):
    """Features of which the given cells (row, col, class, logit) are peaks of the heatmap."""
    torch.nn.init.zeros_(queries.heat.weight)
    torch.nn.init.zeros_(queries.heat.bias)
    dense = torch.full((1, 8, *GRID.shape), -5.0)
    with torch.no_grad():
        for label in range(3):
            queries.heat.weight[label, label] = 1
    for row, col, label, logit in cells:
        dense[0, label, row, col] = logit
    return dense


def test_queries_start_at_the_peaks(queries):
    cells = [(3, 4, 0, 1.0), (20, 10, 1, 3.0), (30, 2, 2, 2.0), (10, 10, 0, 0.5)]
    start = queries(torch.randn(1, 8, *GRID.shape), peaked(queries, cells), 0, None)
    assert start.content.shape == (1, 4, POINTS, 8)
    assert start.groups == (4,)
    middle = start.points_m.mean(2)[0]
    expected = [GRID.centers()[row, col] for row, col, *_ in (cells[i] for i in (1, 2, 0, 3))]
    torch.testing.assert_close(middle, torch.stack(expected), atol=0.1, rtol=0)
    assert start.logits[0].max(1).values.tolist() == [3.0, 2.0, 1.0, 0.5]
    assert start.logits[0].argmax(1).tolist() == [1, 2, 0, 0]
    length = start.points_m[0, 0].diff(dim=0).norm(dim=-1).sum()
    assert length.item() == pytest.approx(20, abs=0.5)


def test_extra_queries_start_at_the_best_cells_also_beside_a_peak(queries):
    cells = [(20, 10, 1, 3.0), (20, 11, 1, 2.9), (3, 4, 0, 1.0), (9, 9, 2, 0.0), (30, 2, 2, -1.0)]
    start = queries(torch.randn(1, 8, *GRID.shape), peaked(queries, cells), 3, None)
    assert start.groups == (4, 3)
    assert start.content.shape == (1, 7, POINTS, 8)
    assert start.logits[0].max(1).values.tolist() == pytest.approx(
        [3.0, 1.0, 0.0, -1.0, 3.0, 2.9, 1.0]
    )
