# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Deformable attention, against mmcv's pure-torch reference."""

import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

from nexusflow.models.bev.deformable import DeformableAttention
from nexusflow.models.bev.encoder import BEVEncoder, sine_encoding
from nexusflow.models.bev.grid import BEVGrid

RANGE = (-10.0, -6.0, 10.0, 14.0)


@pytest.fixture
def grid():
    return BEVGrid(RANGE, 2.0)


def test_equals_mmcv(grid):
    batch, num_queries, heads, points, channels = 2, 7, 4, 3, 16
    attention = DeformableAttention(channels, grid, heads, points)
    torch.nn.init.normal_(attention.offsets.weight)
    torch.nn.init.normal_(attention.weights.weight)
    query = torch.randn(batch, num_queries, channels)
    ref = torch.rand(batch, num_queries, 2) * 24 - torch.tensor([12.0, 8.0])
    bev = torch.randn(batch, channels, *grid.shape)
    value = attention.value(bev).flatten(2).transpose(1, 2).unflatten(-1, (heads, -1))
    offsets = attention.offsets(query).view(batch, num_queries, heads, 1, points, 2) * 2.0
    places = (ref[:, :, None, None, None] + offsets - torch.tensor(RANGE[:2])) / 20.0
    weights = attention.weights(query).view(batch, num_queries, heads, points).softmax(-1)
    expected = multi_scale_deformable_attn_pytorch(
        value, torch.tensor([grid.shape]), places, weights.unsqueeze(3)
    )
    torch.testing.assert_close(
        attention(query, ref, bev), attention.output(expected), atol=1e-5, rtol=1e-5
    )


def test_heads_start_by_looking_around(grid):
    attention = DeformableAttention(8, grid, num_heads=4, num_points=2)
    offsets = attention.offsets(torch.randn(1, 8)).view(4, 2, 2)
    torch.testing.assert_close(offsets.norm(dim=-1), torch.tensor([[1.0, 2.0]]).expand(4, 2))
    torch.testing.assert_close(offsets[:, 0].sum(0), torch.zeros(2), atol=1e-6, rtol=0)


def test_gradient_reaches_every_parameter_and_the_reference(grid):
    attention = DeformableAttention(8, grid)
    ref = torch.zeros(1, 5, 2, requires_grad=True)
    attention(torch.randn(1, 5, 8), ref, torch.randn(1, 8, *grid.shape)).square().sum().backward()
    assert all(p.grad is not None for p in attention.parameters())
    assert ref.grad.abs().sum() > 0


def test_channels_that_heads_do_not_divide_are_refused(grid):
    with pytest.raises(ValueError, match='num_heads'):
        DeformableAttention(10, grid, num_heads=4)


def test_encoder_crops_to_the_range_of_the_task(grid):
    target = BEVGrid((-4.0, -2.0, 4.0, 6.0), 2.0)
    crop, whole = BEVEncoder(4, grid, target).eval(), BEVEncoder(4, target, target).eval()
    whole.load_state_dict(crop.state_dict())
    bev = torch.randn(2, 4, *grid.shape)
    torch.testing.assert_close(crop(bev), whole(bev[:, :, 2:6, 3:7]), atol=1e-4, rtol=1e-4)


def test_encoder_changes_the_resolution(grid):
    target = BEVGrid(RANGE, 1.0)
    assert BEVEncoder(4, grid, target)(torch.randn(2, 4, *grid.shape)).shape == (2, 4, 20, 20)


def test_sine_encoding_tells_places_apart():
    points = torch.stack(torch.meshgrid(*[torch.arange(-50.0, 50, 10)] * 2, indexing='ij'), -1)
    code = sine_encoding(points.flatten(0, 1), 16)
    assert code.shape == (100, 16)
    distance = torch.cdist(code, code) + 9 * torch.eye(100)
    assert distance.min() > 0.1
