# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Properties that make a flow a flow, in float64, over odd and even sizes and numbers of layers."""

import pytest
import torch
from torch import nn

from nexusflow.flows import AffineCoupling, CouplingFlow

SHAPES = [(2, 1), (7, 3), (8, 6), (33, 4)]


def random_flow(dim: int, num_layers: int = 6, gain: float = 1.0) -> CouplingFlow:
    """A flow far from its identity start."""
    torch.manual_seed(dim * 31 + num_layers)
    flow = CouplingFlow(dim, num_layers)
    for layer in flow.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=5**0.5)
            layer.weight.data.mul_(gain)
            nn.init.normal_(layer.bias, std=0.1)
    return flow.double()


@pytest.mark.parametrize(('dim', 'num_layers'), SHAPES)
def test_inverse_undoes_forward(dim, num_layers):
    flow = random_flow(dim, num_layers)
    x = torch.randn(64, dim, dtype=torch.float64)
    z = flow(x)
    assert (z - x).abs().max() > 1e-3
    assert (flow.inverse(z) - x).abs().max() < 1e-10
    assert (flow(flow.inverse(x)) - x).abs().max() < 1e-10


@pytest.mark.parametrize(('dim', 'num_layers'), SHAPES)
def test_log_det_equals_the_jacobians(dim, num_layers):
    flow = random_flow(dim, num_layers)
    x = torch.randn(3, dim, dtype=torch.float64)
    z, log_det = flow.forward_and_log_det(x)
    assert torch.equal(z, flow(x))
    for row, value in zip(x, log_det, strict=True):
        jacobian = torch.autograd.functional.jacobian(flow, row)
        assert torch.allclose(torch.linalg.slogdet(jacobian).logabsdet, value, atol=1e-10)


@pytest.mark.parametrize(('dim', 'num_layers'), SHAPES)
def test_starts_as_the_identity(dim, num_layers):
    x = torch.randn(5, dim)
    z, log_det = CouplingFlow(dim, num_layers).forward_and_log_det(x)
    assert torch.equal(z, x)
    assert torch.equal(log_det, torch.zeros(5))


def test_every_parameter_gets_a_gradient():
    flow = random_flow(9)
    flow(torch.randn(32, 9, dtype=torch.float64)).square().sum().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_state_dict_round_trip():
    flow, other = random_flow(8), CouplingFlow(8).double()
    x = torch.randn(4, 8, dtype=torch.float64)
    assert not torch.equal(flow(x), other(x))
    other.load_state_dict(flow.state_dict())
    assert torch.equal(flow(x), other(x))


def test_scale_stays_within_its_bound_and_inverse_holds_for_large_weights():
    flow = random_flow(64, gain=3.0).float()
    x = torch.randn(256, 64)
    layer = flow.layers[0]
    assert isinstance(layer, AffineCoupling)
    log_scale, _ = layer.log_scale_and_shift(100.0 * torch.randn(256, 32))
    assert log_scale.abs().max() <= 0.5
    assert (flow.inverse(flow(x)) - x).abs().max() < 0.1
    assert (random_flow(64).float().inverse(random_flow(64).float()(x)) - x).abs().max() < 1e-5


def test_computes_in_float32_under_autocast():
    flow = random_flow(16).float()
    x = torch.randn(8, 16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        z = flow(x)
        back = flow.inverse(z)
    assert z.dtype == back.dtype == torch.float32
    assert torch.equal(z, flow(x))
    assert flow(x.bfloat16()).dtype == torch.float32
    assert (back - x).abs().max() < 1e-5


def test_tokens_keep_their_leading_dimensions():
    flow = random_flow(6)
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    z, log_det = flow.forward_and_log_det(x)
    assert z.shape == x.shape and log_det.shape == (2, 5)
    assert torch.allclose(z[1, 3], flow(x[1, 3]))


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (dict(dim=1), 'at least 2'),
        (dict(dim=4, num_layers=0), "'num_layers' must be at least 1"),
        (dict(dim=4, scale_bound=0.0), "'scale_bound' must be positive"),
    ],
)
def test_bad_arguments_are_named(args, message):
    with pytest.raises(ValueError, match=message):
        CouplingFlow(**args)


def test_wrong_length_is_named():
    with pytest.raises(ValueError, match=r'length 4, got shape \(2, 5\)'):
        CouplingFlow(4)(torch.zeros(2, 5))
