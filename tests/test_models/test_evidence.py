# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What a heatmap says of queries beside their score, frame after frame."""

import pytest
import torch

from nexusflow.models.track.evidence import HeatEvidence
from nexusflow.models.track.queries import TrackQueries

BICYCLE, MOTORCYCLE = 6, 5
FAINT = torch.tensor(-12.0)


@pytest.fixture
def evidence(fine_grid):
    return HeatEvidence(fine_grid)


def queries_at(grid, cells, label):
    """A batch of one: queries at the centres of cells (row, column)."""
    queries = TrackQueries.empty(4, torch.device('cpu'), (1, len(cells)))
    for i, (row, col) in enumerate(cells):
        queries.code[0, i, :2] = grid.centers()[row, col]
    queries.labels = torch.full_like(queries.labels, label)
    return queries


def heat_of(spots):
    """Logits (1, 7, 20, 20), faint but for (class, row, column): logit."""
    heat = FAINT.repeat(1, 7, 20, 20)
    for (label, row, col), logit in spots.items():
        heat[0, label, row, col] = logit
    return heat


def test_each_class_speaks_with_its_highest_heat_nearby(evidence, fine_grid):
    heat = heat_of({(BICYCLE, 9, 9): 0.0, (MOTORCYCLE, 10, 10): 2.0, (MOTORCYCLE, 9, 12): 5.0})
    queries = queries_at(fine_grid, [(9, 9)], BICYCLE)
    first = evidence(heat, queries)
    expected = (FAINT.sigmoid() + 0.05).log().repeat(7)
    expected[BICYCLE] = torch.tensor(0.55).log()
    expected[MOTORCYCLE] = (torch.tensor(2.0).sigmoid() + 0.05).log()
    torch.testing.assert_close(first.class_log[0, 0], expected)
    assert (queries.class_log == 0).all()
    # frames add up
    torch.testing.assert_close(evidence(heat, first).class_log[0, 0], 2 * expected)


def test_a_spread_out_heat_is_seen_by_its_share_close_by(evidence, fine_grid):
    point = heat_of({(BICYCLE, 9, 9): 0.0, (MOTORCYCLE, 9, 9): 5.0})
    ridge = heat_of({(BICYCLE, row, 9): 0.0 for row in range(20)})
    queries = queries_at(fine_grid, [(9, 9)], BICYCLE)
    close, around = evidence(point, queries).mass[0, 0]
    torch.testing.assert_close(torch.stack([close, around]), torch.full((2,), 0.25))
    # cells of 1.28 m: one to each side lies within 2 m, four within 6 m
    close, around = evidence(ridge, queries).mass[0, 0]
    torch.testing.assert_close(torch.stack([close, around]), torch.tensor([0.75, 2.25]))


def test_outside_the_grid_and_at_its_edge(evidence, fine_grid):
    queries = queries_at(fine_grid, [(0, 0), (19, 19), (9, 9)], BICYCLE)
    queries.code[0, 2, :2] = 1000.0
    found = evidence(heat_of({(BICYCLE, 0, 0): 0.0}), queries)
    torch.testing.assert_close(found.mass[0, 0], torch.full((2,), 0.25))
    assert found.mass[0, 1].max() < 1e-6
    assert (found.mass[0, 2] == 0).all()
    torch.testing.assert_close(found.class_log[0, 2], torch.tensor(0.05).log().repeat(7))


def test_each_sample_reads_its_own_heat_without_gradient(evidence, fine_grid):
    heat = torch.cat([heat_of({}), heat_of({(BICYCLE, 3, 4): 1.0})]).requires_grad_()
    one = queries_at(fine_grid, [(3, 4)], BICYCLE)
    found = evidence(heat.half(), one.map(lambda x: torch.cat([x, x])))
    share = torch.tensor(1.0).sigmoid().square()
    torch.testing.assert_close(
        found.mass[:, 0, 0], torch.stack([torch.tensor(0.0), share]), atol=1e-4, rtol=0
    )
    assert not found.mass.requires_grad and found.mass.dtype == torch.float
