# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Learned map queries: instance and point embeddings (MapTR)."""

import pytest
import torch

from nexusflow.models.bev.grid import BEVGrid
from nexusflow.models.map.queries import LearnedQueries

GRID = BEVGrid((-15.0, -30.0, 15.0, 30.0), 5.0)


@pytest.fixture
def queries():
    return LearnedQueries(16, GRID, 3, num_points=5, num_queries=4, num_extra=6)


@pytest.fixture
def feature():
    return torch.randn(2, 16, *GRID.shape)


def test_a_query_is_the_sum_of_an_instance_and_a_point(queries, feature):
    start = queries(feature, feature, 0, None)
    assert start.content.shape == start.position.shape == (2, 4, 5, 16)
    both = torch.cat([start.position, start.content], dim=-1)[1]
    for n in range(4):
        for p in range(5):
            expected = queries.instance_embed.weight[n] + queries.point_embed.weight[p]
            assert torch.equal(both[n, p], expected)


def test_queries_spread_over_the_range(feature):
    queries = LearnedQueries(64, GRID, 3, num_points=20, num_queries=50)
    points = queries(feature, feature, 0, None).points_m[0]
    limit = torch.tensor([15.0, 30.0])
    assert (points.abs() < limit).all()
    assert (points.flatten(0, 1).std(0) > 0.3 * limit).all()


def test_the_place_is_a_function_of_the_position(queries, feature):
    with torch.no_grad():
        queries.reference.weight.zero_()
        queries.reference.bias.copy_(torch.tensor([0.0, 3.0]).log1p())
    points = queries(feature, feature, 0, None).points_m
    torch.testing.assert_close(points[1, 3, 4], torch.tensor([0.0, -30 + 60 * 0.8]))


def test_classes_start_rare(queries, feature):
    start = queries(feature, feature, 0, None)
    torch.testing.assert_close(start.logits.sigmoid(), torch.full((2, 4, 3), 0.01))
    assert start.maps == {}


def test_extra_queries_have_embeddings_of_their_own(queries, feature):
    plain, more = queries(feature, feature, 0, None), queries(feature, feature, 6, None)
    assert (plain.groups, more.groups) == ((4,), (4, 6))
    assert torch.equal(more.content[:, :4], plain.content)
    assert more.content.shape[1] == more.points_m.shape[1] == more.logits.shape[1] == 10
    assert len({tuple(row) for row in more.content[0, :, 0].tolist()}) == 10
