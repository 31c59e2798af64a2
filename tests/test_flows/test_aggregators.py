# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import pytest
import torch

from nexusflow.flows import BEVAggregator, QueryAggregator, VectorAggregator

CASES = [
    (VectorAggregator(6, 16), (3, 6)),
    (QueryAggregator(6, 16), (3, 10, 6)),
    (BEVAggregator(6, 16), (3, 6, 9, 20)),
]


@pytest.mark.parametrize(('aggregator', 'shape'), CASES)
def test_shape_norm_and_gradients(aggregator, shape):
    aggregator = aggregator.double()
    aggregator.zero_grad()
    feature = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    embedding = aggregator(feature)
    assert embedding.shape == (3, 16)
    assert torch.allclose(embedding.square().mean(dim=1), torch.ones(3).double(), atol=1e-2)
    (embedding * torch.randn_like(embedding)).sum().backward()
    assert feature.grad.abs().sum() > 0
    for name, parameter in aggregator.named_parameters():
        # A shift of all scores leaves a softmax as it is.
        if not name.endswith(('score.bias', 'norm.bias')):
            assert parameter.grad.abs().sum() > 0, name


def test_query_pooling_ignores_order_and_padding():
    torch.manual_seed(0)
    aggregator = QueryAggregator(6, 16).double()
    queries = torch.randn(2, 5, 6, dtype=torch.float64)
    padded = torch.cat((queries, torch.full((2, 3, 6), 7.0).double()), dim=1)
    mask = torch.arange(8).expand(2, 8) >= 5
    expected = aggregator(queries)
    assert torch.allclose(aggregator(padded, mask), expected)
    order = torch.randperm(8)
    assert torch.allclose(aggregator(padded[:, order], mask[:, order]), expected)
    assert not torch.allclose(aggregator(padded), expected)


def test_empty_set_is_finite_and_independent_of_its_padding():
    aggregator = QueryAggregator(6, 16)
    mask = torch.ones(2, 4, dtype=torch.bool)
    queries = torch.randn(2, 4, 6, requires_grad=True)
    embedding = aggregator(queries, mask)
    assert torch.isfinite(embedding).all() and torch.equal(embedding[0], embedding[1])
    embedding.square().sum().backward()
    assert torch.isfinite(queries.grad).all()


def test_padding_may_hold_anything():
    aggregator = QueryAggregator(6, 16)
    mask = torch.arange(4).expand(2, 4) > 1
    queries = torch.randn(2, 4, 6)
    broken = queries.masked_fill(mask[..., None], torch.nan).requires_grad_()
    embedding = aggregator(broken, mask)
    torch.testing.assert_close(embedding, aggregator(queries, mask))
    embedding.square().sum().backward()
    assert broken.grad.isfinite().all()


def test_bev_sampling_points_cover_the_map():
    aggregator = BEVAggregator(6, 16, grid=3, num_points=4)
    points = aggregator.sampling_points(aggregator.queries[None]).detach()
    assert points.shape == (1, 9, 4, 2) and points.abs().max() <= 1.0
    cells = ((points[0].mean(dim=1) + 1.0) * 1.5).floor().long()
    assert sorted(map(tuple, cells.tolist())) == [(i, j) for i in range(3) for j in range(3)]


def test_bev_reads_the_place_that_the_points_name():
    """A map that holds its own x and y is read back as the coordinates of the points."""
    aggregator = BEVAggregator(2, 16).double()
    axis = (torch.arange(20).double() + 0.5) / 10.0 - 1.0
    feature = torch.stack(torch.meshgrid(axis, axis, indexing='xy'))[None]
    seen = {}
    aggregator.value.register_forward_pre_hook(lambda _, args: seen.update(pooled=args[0]))
    aggregator(feature)
    query = aggregator.queries + aggregator.context(feature.mean(dim=(2, 3)))[:, None]
    points = aggregator.sampling_points(query).clamp(-0.95, 0.95)
    weight = aggregator.weight(query).softmax(dim=-1)
    assert torch.allclose(seen['pooled'], (points * weight[..., None]).sum(dim=2), atol=1e-10)
