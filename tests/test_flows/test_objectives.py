# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import math

import pytest
import torch

from nexusflow.flows.alignment import center_alignment, pairwise_alignment, weighted_center
from nexusflow.flows.mmd import median_bandwidth, mmd2
from nexusflow.flows.objectives import OBJECTIVES, build_objective
from nexusflow.flows.sinkhorn import entropic_transport, sinkhorn_divergence, transport_plan

DOUBLE = dict(dtype=torch.float64)


def random_z(tasks=3, batch=4, dim=5, seed=0):
    return torch.randn(tasks, batch, dim, generator=torch.Generator().manual_seed(seed), **DOUBLE)


def test_pairs_by_hand_and_equal_to_the_centre():
    z = torch.tensor([[[0.0, 0.0]], [[6.0, 8.0]], [[0.0, 2.0]]], **DOUBLE)
    # squared distances 100, 4, 72 over N D = 6
    assert pairwise_alignment(z).item() == pytest.approx(176 / 6)
    assert pairwise_alignment(random_z()).item() == pytest.approx(
        center_alignment(random_z()).item()
    )


def test_weighted_centre_by_hand():
    z = torch.tensor([[[0.0], [1.0]], [[4.0], [5.0]]])
    confidence = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    assert weighted_center(z, confidence).tolist() == [[3.0], [3.0]]


def test_equal_confidences_are_the_papers_objective_with_its_gradient():
    z = random_z().requires_grad_()
    plain = torch.autograd.grad(center_alignment(z), z)[0]
    weighted = build_objective(dict(type='center', unlabelled=0.5))(z, torch.full((3, 4), 0.7))
    assert weighted.item() == pytest.approx(center_alignment(z).item())
    torch.testing.assert_close(torch.autograd.grad(weighted, z)[0], plain)


def test_the_less_trusted_embedding_moves_more():
    z = torch.tensor([[[0.0]], [[4.0]]], requires_grad=True)
    loss = build_objective(dict(type='center', unlabelled=0.25))(z, torch.tensor([[1.0], [0.25]]))
    # the centre is 0.8, fixed: 0.64 + 3.2 ** 2
    assert loss.item() == pytest.approx(10.88)
    (grad,) = torch.autograd.grad(loss, z)
    torch.testing.assert_close(grad, torch.tensor([[[-1.6]], [[6.4]]]))


def test_the_momentum_centre_is_that_of_the_anchor():
    z = torch.tensor([[[0.0]], [[4.0]]])
    loss = build_objective(dict(type='center', momentum=0.9))(z, anchor=z + 1.0)
    assert loss.item() == pytest.approx((0 - 3) ** 2 + (4 - 3) ** 2)


def test_mmd_by_hand():
    x, y = torch.tensor([[0.0], [1.0]], **DOUBLE), torch.tensor([[2.0], [2.0]], **DOUBLE)
    e = math.exp
    biased = (2 + 2 * e(-1)) / 4 + 1 - 2 * (2 * e(-4) + 2 * e(-1)) / 4
    assert mmd2(x, y, 1.0, (1.0,)).item() == pytest.approx(biased)
    unbiased = e(-1) + 1 - 2 * (2 * e(-4) + 2 * e(-1)) / 4
    assert mmd2(x, y, 1.0, (1.0,), unbiased=True).item() == pytest.approx(unbiased)
    mixture = (mmd2(x, y, 0.5, (1.0,)) + mmd2(x, y, 1.0, (1.0,))) / 2
    assert mmd2(x, y, 0.5, (1.0, 2.0)).item() == pytest.approx(mixture.item())
    # squared distances of 0, 1, 2, 2: 1, 4, 4, 1, 1, 0
    assert median_bandwidth(x, y).item() == 1.0
    assert mmd2(x, y, None, (1.0,)).item() == pytest.approx(biased)


def test_mmd_of_equal_and_of_single_rows():
    x = random_z()[0]
    assert mmd2(x, x).abs().item() < 1e-15
    assert mmd2(x[:1], x[:1]).item() == 0 and mmd2(x[:1], x[1:2]).item() > 0
    assert median_bandwidth(torch.ones(2, 3), torch.ones(2, 3)).item() == 1.0
    with pytest.raises(ValueError, match='two rows of each task, got 1 and 4'):
        mmd2(x[:1], x, unbiased=True)


def test_unbiased_mmd_is_zero_on_average_for_one_distribution():
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(400, 2, 6, 3, generator=generator, **DOUBLE)
    unbiased = torch.stack([mmd2(x, y, 3.0, unbiased=True) for x, y in draws])
    biased = torch.stack([mmd2(x, y, 3.0) for x, y in draws])
    assert unbiased.mean().abs() < 4 * unbiased.std() / 20
    assert biased.mean() > 10 * unbiased.mean().abs()


def test_transport_of_two_rows_in_closed_form():
    cost = torch.tensor([[0.0, 1.0], [1.0, 0.0]], **DOUBLE)
    stay = 0.5 / (1 + math.exp(-1 / 0.3))
    expected = torch.tensor([[stay, 0.5 - stay], [0.5 - stay, stay]], **DOUBLE)
    torch.testing.assert_close(transport_plan(cost, 0.3), expected)
    x = torch.tensor([[0.0], [1.0]], **DOUBLE)
    kl = sum(2 * p * math.log(4 * p) for p in (stay, 0.5 - stay))
    value = entropic_transport(x, x, 0.3).item()
    assert value == pytest.approx(2 * (0.5 - stay) + 0.3 * kl)


def test_transport_of_single_rows_is_their_cost():
    x, y = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])
    assert sinkhorn_divergence(x, y).item() == pytest.approx(12.5)


def test_transport_approaches_the_best_matching_and_ignores_the_order():
    y = random_z(1, 4, 2)[0]
    x = y[[2, 0, 3, 1]] + 0.01
    # the matching costs 0.01 ** 2, its entropy's share is KL = log 4
    expected = 1e-4 + 1e-3 * math.log(4)
    assert entropic_transport(x, y, 1e-3, 500).item() == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(sinkhorn_divergence(x, y), sinkhorn_divergence(x.flip(0), y))


def test_the_divergence_is_zero_for_equal_sets_and_positive_else():
    x, y = random_z(2, 6, 3)
    assert sinkhorn_divergence(x, x[torch.randperm(6)]).abs().item() < 1e-12
    assert sinkhorn_divergence(x, y).item() > 0
    assert sinkhorn_divergence(x, x, debiased=False).item() != pytest.approx(0, abs=1e-3)


def test_plans_stay_finite_for_costs_far_above_epsilon():
    cost = torch.rand(5, 5) * 100
    plan = transport_plan(cost, 1e-2)
    torch.testing.assert_close(plan.sum(dim=0), torch.full((5,), 0.2), rtol=1e-2, atol=0)


@pytest.mark.parametrize('kind', ['pairwise', 'mmd', 'sinkhorn', 'center'])
def test_gradients_are_those_of_finite_differences(kind):
    args = {'mmd': dict(bandwidth=4.0), 'sinkhorn': dict(epsilon=0.5, num_iters=100)}.get(kind, {})
    objective = build_objective(dict(type=kind, **args))
    assert torch.autograd.gradcheck(objective, random_z(3, 3, 2).requires_grad_(), atol=1e-6)


@pytest.mark.parametrize('kind', sorted(OBJECTIVES))
def test_every_objective_is_zero_in_agreement_and_reaches_every_task(kind):
    objective = build_objective(dict(type=kind))
    same = random_z(1).expand(3, 4, 5)
    assert objective(same).item() == pytest.approx(0, abs=1e-12)
    z = random_z().requires_grad_()
    loss = objective(z)
    loss.backward()
    assert loss > 0 and loss.ndim == 0
    assert (z.grad.abs().amax(dim=(1, 2)) > 0).all()


@pytest.mark.parametrize('kind', sorted(OBJECTIVES))
def test_descent_brings_the_tasks_together(kind):
    objective, z = build_objective(dict(type=kind)), random_z(2, 6, 3).requires_grad_()
    optimizer, start = torch.optim.Adam([z], lr=0.1), objective(z).item()
    for _ in range(40):
        optimizer.zero_grad()
        objective(z).backward()
        optimizer.step()
    assert objective(z).item() < 0.1 * start


def test_faults_are_named():
    with pytest.raises(ValueError, match="unknown type 'centre'; choose from .*center"):
        build_objective(dict(type='centre'))
    with pytest.raises(ValueError, match="'unlabelled' must not be negative"):
        build_objective(dict(type='center', unlabelled=-1))
    with pytest.raises(ValueError, match=r"'momentum' must be in \[0, 1\), got 1"):
        build_objective(dict(type='center', momentum=1))
    with pytest.raises(ValueError, match="'epsilon' must be positive"):
        build_objective(dict(type='sinkhorn', epsilon=0))
