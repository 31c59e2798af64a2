# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import pytest
import torch
from torch import nn

from nexusflow.flows.transforms import PlainNetwork, build_transform


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ('dim', 'num_layers', 'hidden'), [(256, 6, None), (256, 4, 512), (64, 8, 32), (33, 3, None)]
)
def test_the_plain_network_is_as_large_as_the_flow(dim, num_layers, hidden):
    args = dict(num_layers=num_layers, hidden=hidden)
    flow = build_transform(dict(type='coupling', **args), dim)
    plain = build_transform(dict(type='plain', **args), dim)
    assert count(plain) == pytest.approx(count(flow), rel=0.02)
    assert len(plain.layers) == num_layers


def test_flow_and_plain_network_start_as_the_identity_and_both_learn():
    x = torch.randn(4, 8)
    for kind in ('coupling', 'plain'):
        transform = build_transform(dict(type=kind, num_layers=2), 8)
        assert torch.equal(transform(x), x)
        for layer in transform.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.3)
        transform(x).square().sum().backward()
        assert all(p.grad is not None for p in transform.parameters())
        assert not torch.allclose(transform(x), x)


def test_the_plain_network_need_not_be_invertible():
    plain = PlainNetwork(2, num_layers=1)
    first, _, last = plain.layers[0]
    with torch.no_grad():
        first.weight.zero_()
        first.weight[0, 0] = first.weight[1, 0] = 1.0
        first.weight[1, 0] = -1.0
        first.bias.zero_()
        last.weight.zero_()
        last.weight[0, 0], last.weight[0, 1] = -1.0, 1.0
    # x + (-relu(x) + relu(-x)) = 0 for every x
    assert plain(torch.tensor([[1.0, 3.0], [-2.0, 3.0]])).tolist() == [[0.0, 3.0], [0.0, 3.0]]
    assert not hasattr(plain, 'inverse')


def test_nothing_has_no_weights_and_keeps_at_least_single_precision():
    nothing = build_transform(dict(type='none'), 4)
    x = torch.randn(2, 4)
    assert count(nothing) == 0 and nothing.dim == 4
    assert nothing(x) is x
    assert nothing(x.bfloat16()).dtype == torch.float32
    assert nothing(x.double()).dtype == torch.float64


def test_unknown_types_are_named():
    with pytest.raises(ValueError, match="flow: unknown type 'cnn'; choose from .*'plain'"):
        build_transform(dict(type='cnn'), 4)
