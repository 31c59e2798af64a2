# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Centre heatmaps and the focal losses, against the formulas written out."""

import math

import pytest
import torch
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss

from nexusflow.models.bev.grid import BEVGrid
from nexusflow.models.focal import sigmoid_focal
from nexusflow.models.heatmap import draw_centers, heatmap_focal_loss, prior_bias, top_peaks


@pytest.fixture
def grid():
    return BEVGrid((-10.0, -8.0, 10.0, 8.0), 2.0)


def draw(grid, centers, labels, valid=None, sigma_m=1.5):
    labels = torch.tensor([labels])
    valid = torch.ones_like(labels, dtype=torch.bool) if valid is None else torch.tensor([valid])
    return draw_centers(torch.tensor([centers]), labels, valid, grid, 3, sigma_m)[0]


def test_a_bump_is_one_at_its_cell_and_gaussian_around(grid):
    heat = draw(grid, [[3.7, -4.3]], [1])
    assert heat.shape == (3, 8, 10)
    assert heat[1, 1, 6] == 1
    for row, col, cells in ((1, 7, 1), (2, 6, 1), (2, 7, 2), (1, 3, 9)):
        expected = math.exp(-0.5 * cells * (2 / 1.5) ** 2)
        assert heat[1, row, col] == pytest.approx(expected, rel=1e-4)
    assert heat[[0, 2]].abs().max() == 0


def test_bumps_of_a_class_take_the_maximum(grid):
    both = draw(grid, [[-1.0, 1.0], [3.0, 1.0]], [0, 0])
    alone = [draw(grid, [place], [0]) for place in ([-1.0, 1.0], [3.0, 1.0])]
    assert torch.equal(both, torch.maximum(*alone))


def test_padding_and_centres_outside_draw_nothing(grid):
    heat = draw(grid, [[0.0, 0.0], [99.0, 0.0]], [0, 1], [False, True])
    assert heat.abs().max() == 0


def test_peaks_are_local_maxima_of_their_class(grid):
    heat = 0.9 * draw(grid, [[-5.0, -5.0], [5.0, 5.0]], [0, 2])
    heat[1, 4, 4] = 0.5
    scores, cells, labels = top_peaks(heat[None], 3)
    assert labels[0].tolist()[2] == 1
    assert set(zip(labels[0, :2].tolist(), cells[0, :2].tolist(), strict=True)) == {
        (0, 1 * 10 + 2),
        (2, 6 * 10 + 7),
    }
    torch.testing.assert_close(scores[0], torch.tensor([0.9, 0.9, 0.5]))


def test_heatmap_loss_is_cornernets_formula():
    logits, target = torch.randn(2, 3, 4, 5), torch.rand(2, 3, 4, 5) * 0.9
    target[0, 1, 2, 3] = target[1, 0, 0, 0] = target[1, 2, 1, 1] = 1
    expected = []
    for b in range(2):
        total = 0.0
        pairs = zip(logits[b].flatten().tolist(), target[b].flatten().tolist(), strict=True)
        for logit, goal in pairs:
            p = 1 / (1 + math.exp(-logit))
            if goal == 1:
                total -= (1 - p) ** 2 * math.log(p)
            else:
                total -= (1 - goal) ** 4 * p**2 * math.log(1 - p)
        expected.append(total)
    torch.testing.assert_close(heatmap_focal_loss(logits, target), torch.tensor(expected))


def test_heatmap_loss_is_finite_when_very_wrong():
    logits = torch.tensor([[[[200.0, -200.0]]]], requires_grad=True)
    loss = heatmap_focal_loss(logits, torch.tensor([[[[0.0, 1.0]]]]))
    loss.sum().backward()
    assert loss.item() == pytest.approx(400)
    assert logits.grad.isfinite().all()


def test_focal_loss_is_mmdets():
    logits, target = torch.randn(6, 5), (torch.rand(6, 5) > 0.7).float()
    expected = py_sigmoid_focal_loss(logits, target, reduction='none')
    torch.testing.assert_close(sigmoid_focal(logits, target), expected)
    expected = py_sigmoid_focal_loss(logits, target, gamma=1.5, alpha=0.6, reduction='none')
    torch.testing.assert_close(sigmoid_focal(logits, target, alpha=0.6, gamma=1.5), expected)


@pytest.mark.parametrize('probability', [0.01, 0.5])
def test_prior_bias(probability):
    assert torch.tensor(prior_bias(probability)).sigmoid() == pytest.approx(probability)
