# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The command line."""

import runpy
import sys
from pathlib import Path

import pytest

from nexusflow.datasets import load_info

TOOL = Path(__file__).parents[2] / 'tools' / 'create_data.py'


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name='__main__')


def test_converts_and_reports(nuscenes_root, tmp_path, monkeypatch, capsys):
    arguments = (
        *('nuscenes', '--root', nuscenes_root, '--version', 'v1.0-world'),
        *('--out-dir', tmp_path, '--workers', 2, '--map-range', -10, -10, 10, 10),
    )
    run(monkeypatch, *arguments)
    out = capsys.readouterr().out
    assert 'world_train: 9 samples' in out and 'samples/s' in out
    run(monkeypatch, *arguments)
    again = capsys.readouterr().out
    assert 'world_train: 9 samples up to date' in again and 'samples/s' not in again
    info = load_info(tmp_path / 'nexusflow_infos_world_val.pkl')
    assert info['metainfo']['map_range_m'] == [-10, -10, 10, 10]


def test_one_clear_error(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match=r"error: data root .* has no version 'v1.0-mini'"):
        run(monkeypatch, 'nuscenes', '--root-path', tmp_path, '--version', 'v1.0-mini')


def test_map_rules_are_options(nuscenes_root, tmp_path, monkeypatch, capsys):
    run(
        monkeypatch,
        *('nuscenes', '--root', nuscenes_root, '--version', 'v1.0-world', '--out-dir', tmp_path),
        *('--workers', 1, '--crossings', 'streammapnet', '--centerlines'),
    )
    out = capsys.readouterr().out
    assert "boston-seaport: unusable map records: {'lanes': 1}" in out
    meta = load_info(tmp_path / 'nexusflow_infos_world_val.pkl')['metainfo']
    assert meta['map_classes'][-1] == 'centerline' and meta['map_crossings'] == 'streammapnet'
