# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Attention of map queries, and iterative refinement."""

import pytest
import torch

from nexusflow.models.bev.encoder import sine_encoding
from nexusflow.models.bev.grid import BEVGrid
from nexusflow.models.map.attention import QueryState, build_attention
from nexusflow.models.map.decoder import MapDecoder, MapDecoderLayer
from nexusflow.models.map.queries import QueryStart

BATCH, NUM, POINTS, CHANNELS, HEADS = 2, 5, 4, 16, 2
GRID = BEVGrid((-15.0, -30.0, 15.0, 30.0), 5.0)
NAMES = ('cross', 'along', 'across', 'instances')


@pytest.fixture
def bev():
    return torch.randn(BATCH, CHANNELS, *GRID.shape)


def make_attention(name):
    attention = build_attention(name, CHANNELS, GRID, HEADS, 3, 0.0)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return attention.eval()


def make_state(groups=(NUM,)):
    shape = (BATCH, NUM, POINTS)
    points = torch.rand(*shape, 2) * 20 - 10
    return QueryState(torch.randn(*shape, CHANNELS), torch.randn(*shape, CHANNELS), points, groups)


def told_by(attention, state, bev, n, p):
    """(N, P) bool: whose update changes when the content of point p of element n does."""
    before = attention(state, bev).expand(-1, -1, POINTS, -1)
    content = state.content.clone()
    content[0, n, p] += 1
    after = attention(state._replace(content=content), bev).expand(-1, -1, POINTS, -1)
    assert torch.equal(after[1], before[1])
    return (after - before)[0].abs().amax(-1) > 1e-6


def test_who_tells_whom(bev):
    n, p = 3, 1
    expected = {name: torch.zeros(NUM, POINTS, dtype=torch.bool) for name in NAMES}
    expected['cross'][n, p] = True
    expected['along'][n] = True
    expected['across'][:, p] = True
    expected['instances'][:] = True
    for name in NAMES:
        told = told_by(make_attention(name), make_state(), bev, n, p)
        assert torch.equal(told, expected[name]), name


@pytest.mark.parametrize('name', ['across', 'instances'])
def test_groups_equal_a_mask(name, bev):
    attention, groups = make_attention(name), (2, 3)
    state = make_state(groups)
    mask = ~torch.block_diag(*[torch.ones(n, n, dtype=torch.bool) for n in groups])
    x, value = state.content + state.position, state.content
    if name == 'instances':
        expected, _ = attention.attention(x.mean(2), x.mean(2), value.mean(2), attn_mask=mask)
        expected = expected.unsqueeze(2)
    else:
        columns = [
            attention.attention(x[:, :, p], x[:, :, p], value[:, :, p], attn_mask=mask)[0]
            for p in range(POINTS)
        ]
        expected = torch.stack(columns, dim=2)
    torch.testing.assert_close(attention(state, bev), expected, atol=1e-5, rtol=1e-5)


def test_points_read_the_bev_at_their_place(bev):
    attention, state = make_attention('cross'), make_state()
    before = attention(state, bev)
    points = state.points_m.clone()
    points[0, 2, 3] += 5
    moved = (attention(state._replace(points_m=points), bev) - before).abs().amax(-1) > 1e-6
    assert moved.nonzero().tolist() == [[0, 2, 3]]


def test_unknown_attentions_are_refused():
    with pytest.raises(ValueError, match="decoder.attentions: 'self' is not one of cross"):
        build_attention('self', CHANNELS, GRID, HEADS, 3, 0.0)


def make_start(position=None):
    return QueryStart(
        content=torch.randn(BATCH, NUM, POINTS, CHANNELS),
        points_m=torch.rand(BATCH, NUM, POINTS, 2) * 20 - 10,
        logits=torch.randn(BATCH, NUM, 3),
        position=position,
        groups=(NUM,),
    )


def test_an_untrained_layer_keeps_class_and_place(bev):
    start = make_start()
    _, outputs = MapDecoder(CHANNELS, GRID, 3, num_layers=3, step_m=0.01)(start, bev)
    assert len(outputs) == 4
    for logits, points in outputs:
        torch.testing.assert_close(logits, start.logits)
        torch.testing.assert_close(points, start.points_m, atol=1e-3, rtol=0)


def test_a_layer_moves_points_by_its_step(bev):
    start = make_start()
    layer = MapDecoderLayer(CHANNELS, GRID, 3, reg_hidden=2, step_m=10.0)
    torch.nn.init.zeros_(layer.reg[-1].weight)
    torch.nn.init.constant_(layer.reg[-1].bias, 0.3)
    _, _, points = layer(start.content, start.points_m, bev, start)
    torch.testing.assert_close(points, start.points_m + 3)


def test_layers_refine_the_points_of_the_layer_before_without_its_gradient(
    bev,
):
    decoder = MapDecoder(CHANNELS, GRID, 3, num_layers=2)
    for layer in decoder.layers:
        torch.nn.init.constant_(layer.reg[-1].bias, 1.0)
    start = make_start()
    start.points_m.requires_grad_()
    _, outputs = decoder(start, bev)
    torch.testing.assert_close(outputs[2][1], start.points_m + 2, atol=0.2, rtol=0)
    outputs[2][1].sum().backward(retain_graph=True)
    assert decoder.layers[0].reg[-1].bias.grad is None
    assert decoder.layers[1].reg[-1].bias.grad.abs().min() > 0
    assert start.points_m.grad.abs().max() < 0.01
    start.points_m.grad = None
    outputs[1][1].sum().backward()
    assert (start.points_m.grad - 1).abs().max() < 0.01


def test_a_learned_position_is_added_to_that_of_the_place(bev):
    start = make_start()
    layer = MapDecoderLayer(CHANNELS, GRID, 3, ('along',), 2).eval()
    position = sine_encoding(start.points_m, CHANNELS)
    start.position = -position
    without, *_ = layer(start.content, start.points_m, bev, start)
    attention = layer.attentions[0].attention
    flat = start.content.flatten(0, 1)
    queries = layer.norms[0](flat + attention(flat, flat, flat)[0])
    expected = layer.norms[1](queries + layer.ffn(queries)).view_as(without)
    torch.testing.assert_close(without, expected)


def test_dropout_is_off_at_inference(bev):
    start = make_start()
    layer = MapDecoderLayer(CHANNELS, GRID, 3, NAMES, 2, dropout=0.5)
    runs = [layer(start.content, start.points_m, bev, start)[0] for _ in range(2)]
    assert not torch.equal(*runs)
    layer.eval()
    runs = [layer(start.content, start.points_m, bev, start)[0] for _ in range(2)]
    assert torch.equal(*runs)
