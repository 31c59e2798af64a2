# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""One-to-one matching among allowed pairs, against trying everything."""

from itertools import permutations

import pytest
import torch

from nexusflow.models.matching import match_batch


def match_within(cost, allowed):
    """Rows and columns of one sample."""
    _, rows, cols = match_batch(cost[None], allowed[None], [cost.shape[1]])
    return rows, cols


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


def test_what_costs_more_than_nothing_is_left_alone():
    """One pair that is worth more than the two that could be made of the same rows."""
    cost, allowed = torch.tensor([[[-9.0, -1.0], [-1.0, 5.0]]]), torch.tensor([[[True] * 2] * 2])
    both = match_batch(cost, allowed, [2])
    assert len(both[0]) == 2
    alone = match_batch(cost, cost < 0, [2], forbidden=0.0)
    assert [index.tolist() for index in alone] == [[0], [0], [0]]


@pytest.mark.parametrize('shape', [(0, 3), (3, 0), (2, 2)])
def test_nothing_to_match(shape):
    rows, cols = match_within(torch.zeros(shape), torch.zeros(shape, dtype=torch.bool))
    assert len(rows) == len(cols) == 0
    assert rows.dtype == cols.dtype == torch.long


def test_a_batch_is_its_samples():
    cost, allowed = torch.randn(3, 4, 5) * 5, torch.rand(3, 4, 5) < 0.7
    counts = [5, 0, 2]
    sample, row, col = match_batch(cost, allowed, counts)
    for b, count in enumerate(counts):
        rows, cols = match_within(cost[b, :, :count], allowed[b, :, :count])
        assert torch.equal(row[sample == b], rows)
        assert torch.equal(col[sample == b], cols)


def test_repeated_columns_are_columns_that_are_there_several_times():
    cost, allowed = torch.rand(1, 7, 3), torch.rand(1, 7, 3) < 0.8
    _, row, col = match_batch(cost, allowed, [2], repeats=3)
    repeated = torch.cat([cost[..., :2]] * 3, dim=-1), torch.cat([allowed[..., :2]] * 3, dim=-1)
    rows, cols = match_within(repeated[0][0], repeated[1][0])
    assert len(row) == len(rows)
    assert cost[0, row, col].sum().item() == pytest.approx(
        repeated[0][0, rows, cols].sum().item(), rel=1e-5
    )
    assert len(set(row.tolist())) == len(row)
    assert col.bincount().max() <= 3


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_costs_that_are_not_finite_are_no_match(value):
    cost = torch.tensor([[[value, 1.0], [value, value]]])
    index = match_batch(cost, torch.ones_like(cost, dtype=torch.bool), [2])
    assert [i.tolist() for i in index] == [[0], [0], [1]]


def test_no_sample_at_all():
    index = match_batch(torch.zeros(0, 4, 1), torch.zeros(0, 4, 1, dtype=torch.bool), [])
    assert [len(i) for i in index] == [0, 0, 0]
