# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Leakage of made-up splits, of the converter's own data and of a world."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from nexusflow.datasets import load_info
from nexusflow.datasets.leakage import leakage
from nexusflow.datasets.nuscenes_converter import ConvertSpec, convert

TOOL = Path(__file__).parents[2] / 'tools' / 'split_leakage.py'


def samples(location, *positions):
    poses = [np.eye(4) for _ in positions]
    for pose, position in zip(poses, positions, strict=True):
        pose[:3, 3] = position
    return [{'location': location, 'ego2global': pose} for pose in poses]


def test_counts_by_hand():
    """Distances to the nearest training sample: 5.0, 5.1 and 3 m; height does not count."""
    train = samples('a', (0, 0, 0), (100, 0, 0)) + samples('b', (50, 50, 0))
    val = samples('a', (3, 4, 9), (105.1, 0, 0), (97, 0, 0))
    val += samples('b', (0, 0, 0)) + samples('c', (50, 50, 0))
    counts = leakage(train, val)
    assert counts == {'all': (2, 5), 'a': (2, 3), 'b': (0, 1), 'c': (0, 1)}
    assert counts['a'].share == pytest.approx(2 / 3)
    assert leakage(train, val, radius_m=6.0)['a'] == (3, 3)
    assert leakage([], val)['all'].near == 0
    with pytest.raises(ValueError, match='the validation split has no sample'):
        leakage(train, [])


def test_val_roads_of_a_world_have_none(tiny_world, tmp_path):
    paths = convert(ConvertSpec(tiny_world, 'v1.0-world', tmp_path), progress=False)
    train, val = (load_info(paths[f'world_{part}'])['data_list'] for part in ('train', 'val'))
    counts = leakage(train, val, radius_m=50.0)
    assert set(counts) == {'all', 'boston-seaport', 'singapore-onenorth'}
    assert (counts['all'].near, counts['all'].total) == (0, len(val))


def test_the_tool_prints_and_writes(info_dir, tmp_path, monkeypatch, capsys):
    infos = [str(info_dir / f'nexusflow_infos_world_{part}.pkl') for part in ('train', 'val')]
    out = tmp_path / 'leakage.json'
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *infos, '--json', str(out)])
    runpy.run_path(str(TOOL), run_name='__main__')
    places = json.loads(out.read_text())['places']
    assert places['all'] == {'near': 3, 'total': 3, 'share': 1.0}  # its scenes share one road
    assert 'singapore-onenorth' in capsys.readouterr().out
    monkeypatch.setattr(sys, 'argv', [str(TOOL), infos[0], 'absent.pkl'])
    with pytest.raises(SystemExit, match=r'error: .*absent\.pkl'):
        runpy.run_path(str(TOOL), run_name='__main__')
