# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What the benchmark of the regularisers counts, and what it compares."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

TOOLS = Path(__file__).parents[2] / 'tools'
MEBI = 2**20


@pytest.fixture
def alignment(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.setitem(sys.modules, 'benchmarks', importlib.import_module('benchmarks'))
    return importlib.import_module('benchmarks.alignment')


def test_peak_is_what_is_in_use_at_once(alignment):
    kept = torch.empty(5 * MEBI, dtype=torch.uint8)

    def work():
        first = torch.empty(3 * MEBI, dtype=torch.uint8)
        second = torch.empty(MEBI, dtype=torch.uint8)
        del first
        third = torch.empty(2 * MEBI, dtype=torch.uint8)
        return second, third, kept

    assert alignment.peak_of(work) == 4 * MEBI


def test_steps_are_taken_in_turns_and_each_method_is_first_as_often(alignment):
    order = []

    class Run:
        def __init__(self, name):
            self.step = lambda: order.append(name)

    seconds = alignment.step_in_turns({name: Run(name) for name in 'abc'}, rounds=3)
    assert [len(own) for own in seconds.values()] == [3, 3, 3]

    firsts = order[-9::3]
    assert sorted(firsts) == ['a', 'b', 'c']


def test_methods_differ_in_the_regulariser_only(alignment):
    models = {}
    for name, path in alignment.METHODS.items():
        models[name] = Config.fromfile(alignment.CONFIGS / path).model.to_dict()
    kinds = [model.pop('regulariser', dict(type=None))['type'] for model in models.values()]
    assert kinds == [None, 'NexusFlowRegulariser', 'MTPSLRegulariser', 'JTRRegulariser']
    assert all(model == models[alignment.BARE] for model in models.values())
