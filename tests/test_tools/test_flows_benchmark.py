# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The benchmark of the flows, with our own flow in the peers' places: they come with an extra."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn

TOOLS = Path(__file__).parents[2] / 'tools'
OPTIONS = SimpleNamespace(seed=0, workers=1, quick=True)


@pytest.fixture
def flows(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    module = importlib.import_module('benchmarks.flows')
    monkeypatch.setattr(module, 'SECONDS', 0.0)
    return module


def test_every_ratio_and_time_is_measured(flows, monkeypatch):
    monkeypatch.setattr(flows, 'PEERS', dict.fromkeys(flows.PEERS, flows.ours))
    figures = flows.measure(OPTIONS)
    assert figures.keys() == flows.FIGURES.keys()
    assert len(figures) == 2 * 2 * (4 + 1)
    assert all(value > 0 for value in figures.values())
    assert flows.FIGURES['flows, ours / zuko, inverse, B=8'].met(1.1) is False


def test_a_missing_peer_is_named_with_its_mend(flows, monkeypatch):
    monkeypatch.setitem(sys.modules, 'FrEIA', None)
    monkeypatch.setitem(sys.modules, 'FrEIA.framework', None)
    with pytest.raises(ModuleNotFoundError, match=r'FrEIA.*pip install "\.\[peers\]"'):
        flows.measure(OPTIONS)


def test_unlike_peers_are_refused(flows, monkeypatch):
    def larger():
        peer = flows.ours()
        peer.module.more = nn.Linear(2, 2)
        return peer

    monkeypatch.setattr(flows, 'PEERS', dict.fromkeys(flows.PEERS, larger))
    with pytest.raises(RuntimeError, match='numbers of parameters differ'):
        flows.measure(OPTIONS)

    def wrong():
        peer = flows.ours()
        return flows.Peer(peer.module, peer.forward, peer.forward)

    monkeypatch.setattr(flows, 'PEERS', dict.fromkeys(flows.PEERS, wrong))
    with pytest.raises(RuntimeError, match='the inverse of FrEIA is off'):
        flows.measure(OPTIONS)
