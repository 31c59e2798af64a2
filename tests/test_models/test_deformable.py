# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Deformable attention, against mmcv's pure-torch reference."""

import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttention,
    multi_scale_deformable_attn_pytorch,
)

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


MMCV_NAMES = dict(
    offsets='sampling_offsets',
    weights='attention_weights',
    value='value_proj',
    output='output_proj',
)


def mmcv_name(name):
    """Name of a parameter in mmcv's module."""
    part, kind = name.split('.')
    return f'{MMCV_NAMES[part]}.{kind}'


def mmcv_twin(attention, channels, heads, points):
    """mmcv's module with the same weights."""
    twin = MultiScaleDeformableAttention(
        channels, heads, num_levels=1, num_points=points, dropout=0.0, batch_first=True
    )
    state = {mmcv_name(name): value for name, value in attention.named_parameters()}
    state['value_proj.weight'] = state['value_proj.weight'].flatten(1)
    twin.to(attention.offsets.weight).load_state_dict(state)
    return twin


@pytest.mark.parametrize(('heads', 'points'), [(8, 4), (2, 1)])
def test_equals_mmcv_module_with_its_gradients(heads, points):
    channels, grid = 32, BEVGrid((-15.0, -30.0, 15.0, 30.0), 1.5)
    attention = DeformableAttention(channels, grid, heads, points).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    twin = mmcv_twin(attention, channels, heads, points)
    query = torch.randn(2, 50, channels).double()
    ref = (torch.rand(2, 50, 2).double() * 1.2 - 0.6) * torch.tensor([30.0, 60.0])
    bev = torch.randn(2, channels, *grid.shape).double()
    fields = dict(
        value=bev.flatten(2).transpose(1, 2),
        identity=torch.zeros_like(query),
        reference_points=(ref / torch.tensor([30.0, 60.0]) + 0.5)[:, :, None],
        spatial_shapes=torch.tensor([grid.shape]),
        level_start_index=torch.tensor([0]),
    )
    found, expected = attention(query, ref, bev), twin(query, **fields)
    assert found.abs().max() > 1
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)
    goal = torch.randn_like(found)
    (found * goal).sum().backward()
    (expected * goal).sum().backward()
    state = dict(twin.named_parameters())
    for name, parameter in attention.named_parameters():
        grad = state[mmcv_name(name)].grad.view_as(parameter)
        torch.testing.assert_close(parameter.grad, grad, atol=1e-8, rtol=1e-8)
    single = attention.float()(query.float(), ref.float(), bev.float())
    torch.testing.assert_close(single.double(), expected, atol=1e-5, rtol=1e-5)


def test_half_precision_features_are_read_at_full_precision_places(grid):
    attention = DeformableAttention(16, grid)
    query, bev = torch.randn(1, 9, 16), torch.randn(1, 16, *grid.shape)
    ref = torch.rand(1, 9, 2) * 4 + 3
    with torch.autocast('cpu', torch.bfloat16):
        near = attention(query, ref, bev)
        shifted = attention(query, ref + 1e-3, bev)
    assert (shifted - near).abs().max() > 0
    torch.testing.assert_close(near.float(), attention(query, ref, bev), atol=0.1, rtol=0.1)


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
