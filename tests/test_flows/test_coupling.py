# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Properties that make a flow a flow, in float64, over odd and even sizes, numbers of layers and permutations."""

import io

import pytest
import torch
from torch import nn

from nexusflow.flows import AffineCoupling, CouplingFlow

SHAPES = [(2, 1), (7, 3), (8, 6), (33, 4)]
KINDS = [None, 'fixed', 'learned']


def random_flow(
    dim: int, num_layers: int = 6, permutation: str | None = None, gain: float = 1.0
) -> CouplingFlow:
    """A flow far from its identity start."""
    torch.manual_seed(dim * 31 + num_layers)
    flow = CouplingFlow(dim, num_layers, permutation=permutation)
    for name, parameter in flow.named_parameters():
        if name.endswith('bias'):
            nn.init.normal_(parameter, std=0.1)
        elif name.endswith('vectors'):
            nn.init.normal_(parameter)
        else:
            nn.init.kaiming_uniform_(parameter, a=5**0.5)
            parameter.data.mul_(gain)
    return flow.double()


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(('dim', 'num_layers'), SHAPES)
def test_inverse_undoes_forward(dim, num_layers, kind):
    flow = random_flow(dim, num_layers, kind)
    x = torch.randn(64, dim, dtype=torch.float64)
    z = flow(x)
    assert (z - x).abs().max() > 1e-3
    assert (flow.inverse(z) - x).abs().max() < 1e-10
    assert (flow(flow.inverse(x)) - x).abs().max() < 1e-10


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(('dim', 'num_layers'), SHAPES)
def test_log_det_equals_the_jacobians(dim, num_layers, kind):
    flow = random_flow(dim, num_layers, kind)
    x = torch.randn(3, dim, dtype=torch.float64)
    z, log_det = flow.forward_and_log_det(x)
    assert torch.equal(z, flow(x))
    for row, value in zip(x, log_det, strict=True):
        jacobian = torch.autograd.functional.jacobian(flow, row)
        assert torch.allclose(torch.linalg.slogdet(jacobian).logabsdet, value, atol=1e-10)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(('dim', 'num_layers'), SHAPES)
def test_starts_as_the_identity(dim, num_layers, kind):
    x = torch.randn(5, dim)
    z, log_det = CouplingFlow(dim, num_layers, permutation=kind).forward_and_log_det(x)
    assert torch.allclose(z, x, atol=1e-5) if kind == 'learned' else torch.equal(z, x)
    assert torch.equal(log_det, torch.zeros(5))


@pytest.mark.parametrize('kind', KINDS)
def test_every_parameter_gets_a_gradient(kind):
    flow = random_flow(9, permutation=kind)
    flow(torch.randn(32, 9, dtype=torch.float64)).pow(3).sum().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 1e-6, name


@pytest.mark.parametrize('kind', KINDS)
def test_gradient_equals_the_numerical_one(kind):
    flow = random_flow(5, 3, kind)
    x = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(flow.forward_and_log_det, x)
    assert torch.autograd.gradcheck(flow.inverse, x)


@pytest.mark.parametrize('kind', KINDS)
def test_saved_and_loaded_it_is_bit_identical(kind):
    flow, other = random_flow(8, permutation=kind), CouplingFlow(8, permutation=kind, seed=5)
    x = torch.randn(4, 8, dtype=torch.float64)
    assert not torch.equal(flow(x), other.double()(x))
    file = io.BytesIO()
    torch.save(flow.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(flow(x), other(x))
    assert torch.equal(flow.inverse(x), other.inverse(x))


def test_layer_equals_the_formula():
    """(a, b) -> (a, b exp(s) + t) with s = k tanh(s^ / 2), on the layer's own network."""
    layer = random_flow(6, 1).layers[0]
    a, b = torch.randn(2, 4, 3, dtype=torch.float64)
    hidden = (a @ layer.net[0].weight.T + layer.net[0].bias).clamp_min(0)
    raw, shift = (hidden @ layer.net[2].weight.T + layer.net[2].bias).split(3, dim=1)
    log_scale = 0.5 * torch.tanh(raw / 2)
    out, given = layer(a, b)
    assert torch.allclose(given, log_scale, atol=1e-14)
    assert torch.allclose(out, b * log_scale.exp() + shift, atol=1e-14)


def test_scale_stays_within_its_bound_and_inverse_holds_for_large_weights():
    flow = random_flow(64, gain=3.0).float()
    x = torch.randn(256, 64)
    layer = flow.layers[0]
    assert isinstance(layer, AffineCoupling)
    log_scale, _ = layer.log_scale_and_shift(100.0 * torch.randn(256, 32))
    assert log_scale.abs().max() <= 0.5 < 2 * log_scale.abs().max()
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


@pytest.mark.parametrize('kind', KINDS)
def test_tokens_keep_their_leading_dimensions(kind):
    flow = random_flow(6, permutation=kind)
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    z, log_det = flow.forward_and_log_det(x)
    assert z.shape == x.shape and log_det.shape == (2, 5)
    assert torch.allclose(z[1, 3], flow(x[1, 3]))
    assert torch.allclose(flow.inverse(z[1, 3]), x[1, 3])
    assert flow(x[:, :0]).shape == (2, 0, 6)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (dict(dim=1), 'at least 2'),
        (dict(dim=4, num_layers=0), "'num_layers' must be at least 1"),
        (dict(dim=4, hidden=0), "'hidden' must be at least 1"),
        (dict(dim=4, scale_bound=0.0), "'scale_bound' must be positive"),
        (dict(dim=4, permutation='swap'), "'permutation' must be None or one of fixed, learned"),
    ],
)
def test_bad_arguments_are_named(args, message):
    with pytest.raises(ValueError, match=message):
        CouplingFlow(**args)


def test_wrong_length_is_named():
    with pytest.raises(ValueError, match=r'length 4, got shape \(2, 5\)'):
        CouplingFlow(4)(torch.zeros(2, 5))
