# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import torch

from nexusflow.flows import center_alignment, center_distance


def test_zero_when_the_tasks_agree():
    z = torch.randn(1, 5, 8, dtype=torch.float64).expand(4, 5, 8)
    assert center_alignment(z) < 1e-30
    assert center_distance(z) < 1e-15


def test_two_tasks_by_hand():
    z = torch.tensor([[[0.0, 0.0], [1.0, 1.0]], [[6.0, 8.0], [1.0, 1.0]]])
    # First sample: the centre is (3, 4), each task 5 away, so 2 * 25; second: 0. Over B D = 4.
    assert center_alignment(z).item() == 12.5
    assert center_distance(z).item() == 2.5


def test_order_of_tasks_does_not_matter():
    z = torch.randn(3, 4, 8, dtype=torch.float64)
    assert torch.allclose(center_alignment(z), center_alignment(z[[2, 0, 1]]), atol=1e-15)


def test_equals_the_mean_of_pairs():
    """For N tasks the centre objective is the sum over pairs divided by N."""
    z = torch.randn(4, 6, 5, dtype=torch.float64)
    pairs = sum((z[i] - z[j]).square().mean() for i in range(4) for j in range(i))
    assert torch.allclose(center_alignment(z), pairs / 4)
