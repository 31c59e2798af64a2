# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What is certified is never less than what is measured, on flows far from their start, in float64."""

import math

import pytest
import torch
from torch import nn

from nexusflow.flows import CouplingFlow, center_alignment
from nexusflow.flows.lipschitz import (
    certified_lipschitz,
    jacobian_lipschitz,
    lemma1_sides,
    pair_lipschitz,
)

KINDS = [None, 'fixed', 'learned']
DIMS = [2, 7, 24]


def random_flow(
    dim: int, kind: str | None = None, gain: float = 1.0, seed: int = 0, layers: int = 6
) -> CouplingFlow:
    generator = torch.Generator().manual_seed(seed)
    flow = CouplingFlow(dim, layers, permutation=kind)
    for name, parameter in flow.named_parameters():
        if name.endswith('weight'):
            bound = gain / math.sqrt(parameter.shape[1])
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        else:
            nn.init.normal_(parameter, generator=generator)
    return flow.double()


def in_ball(count: int, center: torch.Tensor, radius: float) -> torch.Tensor:
    """Points in a ball, half of them at its surface."""
    direction = nn.functional.normalize(torch.randn(count, len(center)).double(), dim=1)
    share = torch.rand(count, 1).double()
    share[::2] = 1.0
    return center + radius * share * direction


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('dim', DIMS)
@pytest.mark.parametrize(('radius', 'gain'), [(0.0, 2.0), (1e-3, 2.0), (0.5, 1.0), (8.0, 1.0)])
def test_measured_is_at_most_certified(dim, kind, radius, gain):
    torch.manual_seed(dim)
    for seed in range(3 if radius == 0.5 else 1):
        flow = random_flow(dim, kind, gain, seed)
        center = torch.randn(dim, dtype=torch.float64)
        z = in_ball(12, center, radius)
        certified = certified_lipschitz(flow, center[None], radius)
        assert certified.shape == (1,)
        assert jacobian_lipschitz(flow, z).max() <= certified
        assert pair_lipschitz(flow, z) <= certified


def test_one_layer_by_hand():
    """dim 2, W_1 = 3, W_2 = (2, 4), no bias: at a = 1 the Jacobian is known, and certified exactly for R = 0."""
    flow = CouplingFlow(2, num_layers=1, hidden=1, scale_bound=0.5).double()
    first, last = flow.layers[0].net[0], flow.layers[0].net[2]
    for parameter in flow.parameters():
        nn.init.zeros_(parameter)
    nn.init.constant_(first.weight, 3.0)
    last.weight.data.copy_(torch.tensor([[2.0], [4.0]]))
    z = torch.tensor([[1.0, -5.0]]).double()
    s, t = 0.5 * math.tanh(3.0), 12.0
    b = (-5.0 - t) * math.exp(-s)
    slope_s = 0.25 / math.cosh(3.0) ** 2 * 6.0
    jacobian = torch.tensor([[1.0, 0.0], [-math.exp(-s) * 12.0 - b * slope_s, math.exp(-s)]])
    bound = [[1.0, 0.0], [math.exp(-s) * 12.0 + abs(b) * slope_s, math.exp(-s)]]
    measured = torch.linalg.svdvals(jacobian.double())[0]
    assert torch.allclose(jacobian_lipschitz(flow, z)[0], measured, rtol=1e-6)
    expected = torch.linalg.svdvals(torch.tensor(bound).double())[0]
    assert torch.allclose(certified_lipschitz(flow, z, 0.0)[0], expected, rtol=1e-6)


def test_jacobian_norm_equals_the_inverse_of_the_forward_one():
    flow = random_flow(7, 'learned')
    x = torch.randn(7, dtype=torch.float64)
    forward = torch.autograd.functional.jacobian(flow, x)
    expected = 1.0 / torch.linalg.svdvals(forward)[-1]
    assert torch.allclose(jacobian_lipschitz(flow, flow(x)[None])[0], expected, rtol=1e-8)


def test_pairs_that_are_close_give_no_more_than_the_jacobian_between_them():
    flow = random_flow(6)
    z = torch.randn(1, 6, dtype=torch.float64)
    left, _, right = torch.linalg.svd(torch.func.jacrev(flow.inverse)(z[0]))
    along = torch.cat((z, z + 1e-6 * right[:1]))
    assert torch.allclose(pair_lipschitz(flow, along), jacobian_lipschitz(flow, z)[0], rtol=1e-4)
    assert pair_lipschitz(flow, z.repeat(3, 1)) == 0


def test_certified_is_one_at_the_start_and_grows_with_the_ball():
    for kind in KINDS:
        start = CouplingFlow(9, permutation=kind)
        one = certified_lipschitz(start, torch.zeros(2, 9), torch.tensor([1.0, 100.0]))
        assert torch.allclose(one, torch.ones(2).double(), atol=1e-5)
    flow, center = random_flow(9), torch.zeros(4, 9)
    bounds = certified_lipschitz(flow, center, torch.tensor([0.0, 0.1, 1.0, 10.0]))
    assert (bounds.diff() > 0).all() and torch.isfinite(bounds).all()
    with pytest.raises(ValueError, match=r"'radius' must not be negative, got -1"):
        certified_lipschitz(flow, center, -1.0)


def test_certifying_leaves_the_flow_as_it_is():
    flow = random_flow(6).float()
    certified_lipschitz(flow, torch.zeros(1, 6), 1.0)
    assert all(p.dtype == torch.float32 and p.grad is None for p in flow.parameters())


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('dim', DIMS)
@pytest.mark.parametrize('distance', [1e-3, 0.3, 3.0])
def test_lemma_1_holds_with_the_certified_constant(dim, kind, distance):
    torch.manual_seed(dim)
    for seed in range(3):
        flows = [random_flow(dim, kind, seed=seed + task) for task in (0, 10)]
        h_1 = torch.randn(6, dim, dtype=torch.float64)
        h_2 = flows[1].inverse(flows[0](h_1) + distance * torch.randn_like(h_1)).detach()
        sides = lemma1_sides(*flows, h_1, h_2)
        assert torch.allclose(sides.left, (h_1 - h_2).norm(dim=1))
        assert (sides.left <= sides.right).all() and torch.isfinite(sides.right).all()


def test_lemma_1_is_tight_for_the_identity_so_the_two_may_not_be_left_out():
    """With both flows the identity, L = 1 and delta = 0: left = sqrt(2 L_align), above the printed sqrt(L_align)."""
    flow = CouplingFlow(8).double()
    h_1, h_2 = torch.randn(2, 5, 8, dtype=torch.float64)
    sides = lemma1_sides(flow, flow, h_1, h_2)
    assert torch.allclose(sides.left, sides.right, rtol=1e-8) and (sides.left <= sides.right).all()
    ours = torch.stack([center_alignment(pair[:, None]) for pair in torch.stack((h_1, h_2), dim=1)])
    assert torch.allclose((2.0 * 8 * ours).sqrt(), sides.left)
    assert ((8 * ours).sqrt() < sides.left).all()


def test_twice_the_alignment_bounds_each_pair_of_many_tasks():
    z = torch.randn(5, 1, 8, dtype=torch.float64)
    z[2:] = z[:2].mean(dim=0)
    bound = (2.0 * 8 * center_alignment(z)).sqrt()
    assert torch.allclose((z[0] - z[1]).norm(), bound)
    z = torch.randn(5, 1, 8, dtype=torch.float64)
    assert torch.pdist(z[:, 0]).max() <= (2.0 * 8 * center_alignment(z)).sqrt()


def test_mean_over_a_batch_holds_with_one_constant():
    flows = [random_flow(6, seed=seed) for seed in (0, 1)]
    h = torch.randn(2, 8, 6, dtype=torch.float64)
    z = torch.stack([flow(rows) for flow, rows in zip(flows, h, strict=True)]).detach()
    radius = z.norm(dim=-1).max()
    constant = certified_lipschitz(flows[0], torch.zeros(1, 6), radius).item()
    sides = lemma1_sides(*flows, *h, lipschitz=constant)
    delta = (flows[0].inverse(z[1]) - h[1]).norm(dim=1)
    assert (sides.left <= sides.right).all()
    whole = constant * (2.0 * 6 * center_alignment(z)).sqrt() + delta.mean()
    assert sides.right.mean() <= whole and sides.left.mean() <= whole
