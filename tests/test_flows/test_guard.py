# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import math

import pytest
import torch

from nexusflow.flows.guard import EPSILON, CollapseGuard, covariance_term, variance_term


def test_variance_term_by_hand():
    rows = torch.tensor([[0.0, 5.0], [2.0, 5.0]])
    # variances 2 and 0: the first entry is above the wanted spread, the second has none
    assert variance_term(rows, 1.0).item() == pytest.approx(0.5 * (1 - math.sqrt(EPSILON)))


def test_covariance_term_by_hand():
    rows = torch.tensor([[0.0, 0.0, 7.0], [2.0, 4.0, 7.0]])
    # covariance of the first two entries is 4; it stands twice in the matrix
    assert covariance_term(rows).item() == pytest.approx(2 * 16 / 3)
    assert covariance_term(torch.eye(2)[[0, 1, 0, 1]] * torch.tensor([1.0, 0.0])).item() == 0


def test_the_guard_is_the_mean_of_the_tasks():
    embeddings = torch.randn(2, 6, 4)
    guard = CollapseGuard(weight=3.0, std=0.9, variance=2.0, covariance=0.5)
    each = [2.0 * variance_term(rows, 0.9) + 0.5 * covariance_term(rows) for rows in embeddings]
    torch.testing.assert_close(guard(embeddings), 3.0 * (each[0] + each[1]) / 2)


def test_one_row_has_no_spread_and_no_loss():
    embeddings = torch.randn(2, 1, 4, requires_grad=True)
    loss = CollapseGuard()(embeddings)
    loss.backward()
    assert loss.item() == 0 and embeddings.grad.abs().max() == 0


def test_descent_on_the_guard_undoes_a_collapse():
    embeddings = (1e-3 * torch.randn(2, 8, 4)).requires_grad_()
    optimizer = torch.optim.Adam([embeddings], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        CollapseGuard(weight=1.0)(embeddings).backward()
        optimizer.step()
    assert embeddings.std(dim=1).min() > 0.4


def test_faults_are_named():
    with pytest.raises(ValueError, match="'on' must be 'h' or 'z', got 'x'"):
        CollapseGuard(on='x')
    with pytest.raises(ValueError, match="'std' must be positive, got 0"):
        CollapseGuard(std=0)
