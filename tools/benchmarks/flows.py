# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The coupling flow beside the flows of FrEIA, normflows, nflows and zuko: time of ours over time of theirs.

Like for like: D = 256, six affine couplings, each of which maps one half, by one network Linear(128, 256), ReLU,
Linear(256, 256) for scale and shift, over halves that take turns; float32, equal inputs, the same number of parameters
(asserted), the loss is the sum of the squared outputs. Ours and FrEIA's bound the log-scale by tanh.

* FrEIA: three ``GLOWCouplingBlock`` with tanh. A block maps both halves in turn with a network each, so three blocks
  are six couplings. (``RNVPCouplingBlock`` has two networks a coupling and is slower.)
* normflows: six ``AffineCouplingBlock`` with the default scale exp, which does not bound it; the split mode takes turns
  instead of a permutation layer, which would cost it more.
* nflows: six ``AffineCouplingTransform``, whose scale is a sigmoid.
* zuko: ``NICE`` with its affine couplings (RealNVP) and its soft clip; halves are the even and odd entries. It builds
  its transform anew for each input: that is how it is used and it is timed.

FrEIA, normflows and nflows sum a log-determinant on the way, which no option turns off; ours and zuko compute it on
demand only. Rounds are interleaved in random order, ratios are taken within a round, the figure is their median. Time
is that of the processor, on one thread: what else runs on the machine does not count.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nexusflow.flows import CouplingFlow

from .figures import Figure

DIM, LAYERS = 256, 6
BATCHES = (8, 256)
OURS = 'ours'
PASSES = ('forward+backward', 'inverse')
SECONDS = 0.02
"""A timing lasts about this long, over as many calls as fit."""


@dataclass(frozen=True)
class Peer:
    """A flow: its module, and the two functions x -> z and z -> x."""

    module: nn.Module
    forward: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]


class Conditioner(nn.Sequential):
    """The network of all but zuko, which builds an equal one; nflows hands it a second argument."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__(nn.Linear(in_dim, DIM), nn.ReLU(), nn.Linear(DIM, out_dim))

    def forward(self, x: Tensor, context: None = None) -> Tensor:
        """(B, in_dim) -> (B, out_dim)."""
        return super().forward(x)


def ours() -> Peer:
    """The flow of this project."""
    flow = CouplingFlow(DIM, LAYERS)
    for name, parameter in flow.named_parameters():
        if name.endswith('weight'):
            nn.init.kaiming_uniform_(parameter, a=5**0.5)
    return Peer(flow, flow, flow.inverse)


def freia() -> Peer:
    """The flow of FrEIA."""
    from FrEIA.framework import SequenceINN
    from FrEIA.modules import GLOWCouplingBlock

    flow = SequenceINN(DIM)
    for _ in range(LAYERS // 2):
        flow.append(
            GLOWCouplingBlock, subnet_constructor=Conditioner, clamp=0.5, clamp_activation='TANH'
        )
    return Peer(flow, lambda x: flow(x)[0], lambda z: flow(z, rev=True)[0])


def normflows() -> Peer:
    """The flow of normflows."""
    from normflows import NormalizingFlow
    from normflows.flows import AffineCouplingBlock

    modes = ('channel', 'channel_inv')
    layers = [
        AffineCouplingBlock(Conditioner(DIM // 2, DIM), split_mode=modes[i % 2])
        for i in range(LAYERS)
    ]
    flow = NormalizingFlow(None, layers)
    return Peer(flow, flow.forward, flow.inverse)


def nflows() -> Peer:
    """The flow of nflows."""
    from nflows.transforms import AffineCouplingTransform, CompositeTransform

    mask = torch.ones(DIM)
    mask[: DIM // 2] = -1
    layers = [AffineCouplingTransform(mask * (-1) ** i, Conditioner) for i in range(LAYERS)]
    flow = CompositeTransform(layers)
    return Peer(flow, lambda x: flow(x)[0], lambda z: flow.inverse(z)[0])


def zuko() -> Peer:
    """The flow of zuko."""
    from zuko.flows import NICE

    flow = NICE(DIM, transforms=LAYERS, hidden_features=(DIM,))
    return Peer(flow, lambda x: flow.transform()(x), lambda z: flow.transform().inv(z))


PEERS = {'FrEIA': freia, 'normflows': normflows, 'nflows': nflows, 'zuko': zuko}


def figure_name(peer: str, part: str, batch: int) -> str:
    """Name of a ratio."""
    return f'flows, ours / {peer}, {part}, B={batch}'


def ours_name(part: str, batch: int) -> str:
    """Name of our own time."""
    return f'flows, {part}, B={batch}'


FIGURES = {
    figure_name(peer, part, batch): Figure('times', goal=1.0, more_is_better=False)
    for peer in PEERS
    for part in PASSES
    for batch in BATCHES
} | {ours_name(part, batch): Figure('ms') for part in PASSES for batch in BATCHES}


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Time all of them in one run.

    Raises:
        ModuleNotFoundError: If a peer is not installed.
        RuntimeError: If a peer has another number of parameters, or its inverse does not undo it.
    """
    torch.manual_seed(options.seed)
    peers = build_peers()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return compare(peers, options)
    finally:
        torch.set_num_threads(threads)


def compare(peers: dict[str, Peer], options: argparse.Namespace) -> dict[str, float]:
    """All figures."""
    rng = random.Random(options.seed)
    figures: dict[str, float] = {}
    for batch in BATCHES:
        x = torch.randn(batch, DIM)
        for part, steps in make_steps(peers, x).items():
            rounds = time_rounds(steps, rng, 5 if options.quick else 41)
            figures[ours_name(part, batch)] = 1e3 * statistics.median(r[OURS] for r in rounds)
            for peer in PEERS:
                ratio = statistics.median(r[OURS] / r[peer] for r in rounds)
                figures[figure_name(peer, part, batch)] = ratio
    return figures


def build_peers() -> dict[str, Peer]:
    """All of them, checked to be what they should be."""
    try:
        peers = {OURS: ours(), **{name: build() for name, build in PEERS.items()}}
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'benchmark flows: \'{error.name}\' is not installed; pip install ".[peers]"'
        ) from error
    sizes = {name: sum(p.numel() for p in peer.module.parameters()) for name, peer in peers.items()}
    if len(set(sizes.values())) > 1:
        raise RuntimeError(f'benchmark flows: numbers of parameters differ: {sizes}')
    x = torch.randn(16, DIM)
    for name, peer in peers.items():
        with torch.no_grad():
            error = (peer.inverse(peer.forward(x)) - x).abs().max().item()
        if error > 1e-3:
            raise RuntimeError(f'benchmark flows: the inverse of {name} is off by {error:.2g}')
    return peers


def make_steps(peers: dict[str, Peer], x: Tensor) -> dict[str, dict[str, Callable[[], None]]]:
    """What is timed: pass -> name of a flow -> function."""

    def train(peer: Peer) -> Callable[[], None]:
        parameters = list(peer.module.parameters())

        def step() -> None:
            for parameter in parameters:
                parameter.grad = None
            peer.forward(x).square().sum().backward()

        return step

    def invert(peer: Peer) -> Callable[[], None]:
        @torch.no_grad()
        def step() -> None:
            peer.inverse(x)

        return step

    makers = dict(zip(PASSES, (train, invert), strict=True))
    return {
        part: {name: make(peer) for name, peer in peers.items()} for part, make in makers.items()
    }


def time_rounds(
    steps: dict[str, Callable[[], None]], rng: random.Random, rounds: int
) -> list[dict[str, float]]:
    """Seconds of a call of each step, for each round."""
    calls = {name: max(1, round(SECONDS / time_calls(step, 3))) for name, step in steps.items()}
    names = list(steps)
    results = []
    for _ in range(rounds):
        rng.shuffle(names)
        results.append({name: time_calls(steps[name], calls[name]) for name in names})
    return results


def time_calls(step: Callable[[], None], calls: int) -> float:
    """Mean seconds of a call, of processor time, after one to warm up."""
    step()
    start = time.process_time()
    for _ in range(calls):
        step()
    return (time.process_time() - start) / calls
