# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
r"""How much the inverse of a flow can stretch: a certified bound, and what is measured.

Lemma 1 of the paper needs the Lipschitz constant L of :math:`c^{-1}`. A coupling's inverse is
:math:`b = (b' - t(a)) e^{-s(a)}` with the kept half a, so

.. math::
    \frac{\partial b}{\partial b'} = \mathrm{diag}(e^{-s}), \qquad
    \frac{\partial b}{\partial a} = -\mathrm{diag}(e^{-s})\, t'(a) - \mathrm{diag}(b)\, s'(a).

The last term grows with b: there is no finite constant on the whole space, but there is one on a ball
:math:`\lVert z - z_0 \rVert_2 \le R`, and :func:`certified_lipschitz` bounds it. Through the layers, from the
last to the first, it carries the image of the centre and the bounds A and B of how far the halves lie from its
halves. With the network :math:`(\hat s, t) = W_2\, \mathrm{relu}(W_1 a + b_1) + b_2`, the scale
:math:`s = k \tanh(\hat s / 2)` and the spectral norm :math:`g = \lVert W_1 \rVert_2`, relu being 1-Lipschitz, in one
layer:

* :math:`\hat s_j` lies within :math:`\rho_j = g A \lVert W_{2,j}^s \rVert` of its value at the centre, and t likewise,
  so :math:`e^{-s_j} \le e_j = \exp(-k \tanh((\hat s_j^0 - \rho_j) / 2)) \le e^k`, and :math:`|s'_j| \le \kappa_j`
  times the slope of :math:`\hat s_j`, with the largest slope of the tanh in that range,
  :math:`\kappa_j \le \frac{k}{2}` since :math:`\sup \tanh' = 1`;
* :math:`|b_j| \le \beta_j = e_j (|b'^0_j - t^0_j| + B + g A \lVert W_{2,j}^t \rVert)`;
* so the Jacobian's blocks have norms of at most :math:`e = \max_j e_j` and
  :math:`c = g (\lVert \mathrm{diag}(e_j) W_2^t \rVert_2 + \lVert \mathrm{diag}(\beta_j \kappa_j) W_2^s \rVert_2)`,
  and the new b lies within :math:`c A + e B` of that of the centre; also within
  :math:`e (B + g A \lVert W_2^t \rVert_2)` and what the change of the scale alone makes of the centre's
  :math:`b'^0 - t^0`, which is less in a wide ball.

By the chain rule the norms of the blocks of the whole Jacobian are at most the product of the 2 x 2 matrices
(1, 0; c, e), and its norm at most the norm of that product. A ball is convex, so a bound of the Jacobian on it is a
Lipschitz constant there. What stands between layers is orthogonal: it keeps the norm and mixes the halves, so the
product is closed in front of it and begins anew.
"""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .coupling import AffineCoupling, CouplingFlow
from .permutation import Permutation

__all__ = ['Lemma1', 'certified_lipschitz', 'jacobian_lipschitz', 'lemma1_sides', 'pair_lipschitz']

ROUNDING = 1.0 + 1e-9
"""Covers what float64 arithmetic may lose of a bound."""


class Lemma1(NamedTuple):
    """The two sides of Lemma 1, each (B,), float64: ``left <= right``."""

    left: Tensor
    right: Tensor


class _Balls:
    """Sets that vectors lie in, and how far they were stretched on the way there.

    Attributes:
        centers: Images of the balls' centres, a tensor for each half.
        reach: How far a half lies at most from that of the centre, (B,) for each half.
        blocks: (B, 2, 2), bounds of the Jacobian's blocks since the last permutation.
        stretch: (B,), bound of the Jacobian's norm before that.
    """

    def __init__(self, flow: CouplingFlow, center: Tensor, radius: Tensor) -> None:
        self.sizes = list(flow.sizes)
        self.stretch = torch.ones_like(radius)
        self._begin(center, radius)

    def _begin(self, center: Tensor, radius: Tensor) -> None:
        self.centers = list(torch.split(center, self.sizes, dim=-1))
        self.reach = [radius, radius]
        self.blocks = torch.eye(2).to(center).repeat(len(center), 1, 1)

    def close(self) -> Tensor:
        """Bound (B,) of the norm of the whole Jacobian so far."""
        return self.stretch * _spectral_norm(self.blocks)

    def undo_permutation(self, permutation: Permutation) -> None:
        """Pass the inverse of what stands between two layers."""
        self.stretch = self.close()
        self._begin(permutation.inverse(torch.cat(self.centers, dim=-1)), torch.hypot(*self.reach))

    def undo_layer(self, layer: AffineCoupling, kept: int) -> None:
        """Pass the inverse of a coupling; the module's docstring says how."""
        changed, k = 1 - kept, layer.scale_bound
        reach, reach_b = self.reach[kept], self.reach[changed]
        raw, shift = layer.net(self.centers[kept]).tensor_split(2, dim=-1)
        weight_scale, weight_shift = _slopes(layer)
        raw_reach = reach[:, None] * weight_scale.norm(dim=1)
        shift_reach = reach[:, None] * weight_shift.norm(dim=1)
        most, middle, least = (
            torch.exp(-k * torch.tanh(0.5 * r)) for r in (raw - raw_reach, raw, raw + raw_reach)
        )
        flattest = 0.5 * (raw.abs() - raw_reach).clamp_min(0.0)
        steepness = 0.5 * k * (1.0 - torch.tanh(flattest).square())
        residual = self.centers[changed] - shift
        size = most * (residual.abs() + reach_b[:, None] + shift_reach)
        across = _spectral_norm(most[..., None] * weight_shift) + _spectral_norm(
            (size * steepness)[..., None] * weight_scale
        )
        along = most.amax(dim=1)
        spread = (residual * torch.maximum(most - middle, middle - least)).norm(dim=1)
        self._pass(kept, across, along)
        self.centers[changed] = residual * middle
        self.reach[changed] = torch.minimum(
            across * reach + along * reach_b,
            along * (reach_b + _spectral_norm(weight_shift) * reach) + spread,
        )

    def _pass(self, kept: int, across: Tensor, along: Tensor) -> None:
        """Multiply the blocks by those of a layer, c (B,) and e (B,)."""
        step = torch.eye(2).to(along).repeat(len(along), 1, 1)
        step[:, 1 - kept, kept], step[:, 1 - kept, 1 - kept] = across, along
        self.blocks = step @ self.blocks


def _slopes(layer: AffineCoupling) -> tuple[Tensor, Tensor]:
    """W_2 of the scale and of the shift times the spectral norm of W_1."""
    first, last = layer.net[0], layer.net[2]
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    weight_scale, weight_shift = (last.weight * _spectral_norm(first.weight)).tensor_split(2)
    return weight_scale, weight_shift


def _spectral_norm(matrix: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.matrix_norm(matrix, 2)
    return norm


@torch.no_grad()
def certified_lipschitz(flow: CouplingFlow, center: Tensor, radius: Tensor | float) -> Tensor:
    r"""Numbers that the Lipschitz constant of ``flow.inverse`` does not exceed on balls.

    Some singular values of each weight matrix for each ball: for a check now and then, not for every step. A flow at
    its start has 1. The bound takes the worst case in each layer, so with wide balls, many layers and large weights it
    is far above what is measured; the smaller the ball, the closer.

    Args:
        flow: The flow; it is taken to float64.
        center: :math:`z_0`, (B, D): where each ball lies; zeros for balls around the origin.
        radius: R, one for all or (B,).

    Returns:
        (B,), float64.

    Raises:
        ValueError: If a radius is negative.

    Example:
        >>> certified_lipschitz(CouplingFlow(8), torch.zeros(1, 8), radius=10.0)
        tensor([1.0000], dtype=torch.float64)
    """
    center = center.double()
    radius = torch.as_tensor(radius).to(center).expand(len(center))
    if (radius < 0).any():
        raise ValueError(f"'radius' must not be negative, got {radius.min().item()}")
    balls = _Balls(flow, center, radius)
    for i, (layer, permutation) in reversed(list(enumerate(deepcopy(flow).double().steps()))):
        if permutation is not None:
            balls.undo_permutation(permutation)
        balls.undo_layer(layer, kept=i % 2)
    return balls.close() * ROUNDING


def jacobian_lipschitz(flow: CouplingFlow, z: Tensor) -> Tensor:
    """Spectral norm (B,) of the Jacobian of ``flow.inverse`` at each row of ``z`` (B, D).

    It takes D backward passes; the largest of them is a lower bound of the Lipschitz constant.
    """
    jacobian: Tensor = torch.func.vmap(torch.func.jacrev(flow.inverse))(z.detach())
    norms: Tensor = torch.linalg.matrix_norm(jacobian.detach(), 2)
    return norms


@torch.no_grad()
def pair_lipschitz(flow: CouplingFlow, z: Tensor) -> Tensor:
    """Largest ratio of the distances of two rows after and before ``flow.inverse``, for ``z`` (B, D).

    Another lower bound of the Lipschitz constant. Equal rows say nothing; 0 if no two rows differ.
    """
    before, after = torch.pdist(z), torch.pdist(flow.inverse(z))
    ratio = torch.where(before > 0, after / before.clamp_min(torch.finfo(z.dtype).tiny), 0.0)
    return torch.cat((ratio, ratio.new_zeros(1))).max()


@torch.no_grad()
def lemma1_sides(
    flow_1: CouplingFlow,
    flow_2: CouplingFlow,
    h_1: Tensor,
    h_2: Tensor,
    lipschitz: Tensor | float | None = None,
) -> Lemma1:
    r"""The two sides of Lemma 1 for each sample.

    .. math::
        \lVert h_1 - h_2 \rVert = \lVert c_1^{-1}(z_1) - c_2^{-1}(z_2) \rVert
        \le \lVert c_1^{-1}(z_1) - c_1^{-1}(z_2) \rVert + \lVert c_1^{-1}(z_2) - c_2^{-1}(z_2) \rVert
        \le L \lVert z_1 - z_2 \rVert + \delta

    The alignment of the paper, the sum over tasks of :math:`\lVert z_i - \bar z \rVert^2`, is
    :math:`\lVert z_1 - z_2 \rVert^2 / 2` for two tasks; for more, :math:`\lVert z_i - z_j \rVert^2` is at most twice
    as large as it. So the lemma holds with :math:`L \sqrt{2 L_{align}}`; as printed it lacks the 2. Our
    :func:`nexusflow.flows.alignment.center_alignment` of one sample is the paper's over D, hence
    :math:`L \sqrt{2 D\,L_{align}}` there; with its mean over a batch that bounds the mean of the left sides, if L holds
    for all samples (Jensen). :math:`\delta` is taken at the point in question, :math:`z_2`; the paper's is its largest
    value on the domain.

    Args:
        flow_1: c_1.
        flow_2: c_2.
        h_1: Embeddings (B, D) of the first task before its flow.
        h_2: Those of the second task.
        lipschitz: L of the inverse of c_1 on a convex set that holds z_1 and z_2, one for all or (B,). If not given,
            it is certified for each sample on the smallest ball that holds both.

    Returns:
        Both sides; in float32 the left one is right up to the round trip's error of the flows.
    """
    z_1, z_2 = flow_1(h_1), flow_2(h_2)
    both = torch.stack((z_1, z_2)).double()
    center = both.mean(dim=0)
    alignment = (both - center).square().sum(dim=(0, 2))
    if lipschitz is None:
        lipschitz = certified_lipschitz(flow_1, center, (0.5 * alignment).sqrt() * ROUNDING)
    delta = (flow_1.inverse(z_2).double() - h_2.double()).norm(dim=-1)
    left = (h_1.double() - h_2.double()).norm(dim=-1)
    return Lemma1(left, lipschitz * (2.0 * alignment).sqrt() + delta)
