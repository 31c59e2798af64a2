# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The dispatcher of the benchmark: parts, goals, the JSON file."""

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

TOOLS = Path(__file__).parents[2] / 'tools'


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module('benchmark')


@pytest.fixture
def figure(benchmark):
    return benchmark.Figure


def test_figures_know_whether_they_meet_their_goal(figure):
    assert figure('samples/s', 15.0).met(20.0) is True
    assert figure('of a step', 0.1, more_is_better=False).met(0.2) is False
    assert figure('s').met(1.0) is None
    assert figure('of a step', 0.1, False).line('share', 0.2).endswith('at most 0.1: NO')


def test_parts_are_run_once_and_written(benchmark, figure, monkeypatch, tmp_path, capsys):
    seen = []

    def measure(options):
        seen.append((options.seed, options.workers, options.folder.is_dir()))
        return {'rate': 30.0, 'count': 2.0}

    part = SimpleNamespace(measure=measure, FIGURES={'rate': figure('1/s', 20.0)})
    monkeypatch.setitem(sys.modules, 'benchmarks.toy', part)
    monkeypatch.setattr(benchmark, 'PARTS', {'toy': ('toy',), 'other': ('absent',)})
    out = tmp_path / 'figures.json'
    arguments = ['benchmark', 'toy', 'toy', '--seed', '3', '--workers', '1', '--json', str(out)]
    monkeypatch.setattr(sys, 'argv', arguments)
    assert benchmark.main() == 0
    assert seen == [(3, 1, True)]
    assert json.loads(out.read_text())['parts'] == {
        'toy': {
            'rate': {'value': 30.0, 'unit': '1/s', 'goal': 20.0, 'met': True},
            'count': {'value': 2.0, 'unit': '', 'goal': None, 'met': None},
        }
    }
    assert 'at least 20: yes' in capsys.readouterr().out


def test_straightforward_map_evaluation_agrees(benchmark):
    """Raises when the true positives differ."""
    judge = importlib.import_module('benchmarks.map_evaluation')
    rng = np.random.default_rng(1)
    samples = [judge.make_sample(rng) for _ in range(4)]
    slow, fast = judge.compare(samples)
    assert slow > 0 and fast > 0
    hits = judge.straightforward(*samples[0], judge.MODE)
    assert 0 < hits.sum() < hits.size


def test_every_part_has_its_file(benchmark):
    modules = [name for part in benchmark.PARTS.values() for name in part]
    assert [name for name in modules if not (TOOLS / 'benchmarks' / f'{name}.py').is_file()] == []
