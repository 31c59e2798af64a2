# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""One-to-one matching among allowed pairs, against trying everything."""

from itertools import permutations

import pytest
import torch

from nexusflow.models.matching import match_within


def brute_force(cost, allowed):
    """Most pairs, and then least cost, over all one-to-one assignments."""
    rows, cols = cost.shape
    best = (0, 0.0)
    for order in permutations(range(rows + cols), rows):
        pairs = [(i, j) for i, j in enumerate(order) if j < cols and allowed[i, j]]
        total = sum(cost[i, j].item() for i, j in pairs)
        best = max(best, (len(pairs), -total))
    return best


@pytest.mark.parametrize('seed', range(6))
def test_equals_brute_force(seed):
    torch.manual_seed(seed)
    cost, allowed = torch.randn(4, 3) * 5, torch.rand(4, 3) < 0.4
    rows, cols = match_within(cost, allowed)
    assert allowed[rows, cols].all()
    assert len(set(rows.tolist())) == len(set(cols.tolist())) == len(rows)
    number, total = brute_force(cost, allowed)
    assert len(rows) == number
    assert cost[rows, cols].sum().item() == pytest.approx(-total, abs=1e-4)


@pytest.mark.parametrize('shape', [(0, 3), (3, 0), (2, 2)])
def test_nothing_to_match(shape):
    rows, cols = match_within(torch.zeros(shape), torch.zeros(shape, dtype=torch.bool))
    assert len(rows) == len(cols) == 0
    assert rows.dtype == cols.dtype == torch.long
