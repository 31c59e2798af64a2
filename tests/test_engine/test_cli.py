# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import argparse
import importlib
import os
import sys
from pathlib import Path

import pytest

from nexusflow.engine.cli import (
    add_common_arguments,
    latest_checkpoint,
    load_config,
    require_checkpoint,
    select_evaluators,
)

TOOLS = Path(__file__).parents[2] / 'tools'
EVALUATORS = [
    dict(type='NexusMapMetric'),
    dict(type='mmdet3d.NexusTrackMetric'),
    dict(type='DumpResults'),
]


def parse(config, *flags):
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    add_common_arguments(parser)
    return parser.parse_args([str(config), *flags])


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    path = tmp_path / 'toy.py'
    path.write_text("model = dict(layers=[1, 2])\nenv_cfg = dict(dist_cfg=dict(backend='nccl'))\n")
    return path


def test_flags_reach_the_config(config):
    cfg = load_config(
        parse(config, '--launcher', 'slurm', '--cfg-options', 'model.depth=5', 'seed=3')
    )
    assert cfg.model.depth == 5 and cfg.seed == 3
    assert cfg.launcher == 'slurm'
    assert cfg.work_dir == os.path.join('./work_dirs', 'toy')


def test_work_dir_of_the_flag_goes_first(config):
    config.write_text("work_dir = 'of_config'\n")
    assert load_config(parse(config)).work_dir == 'of_config'
    assert load_config(parse(config, '--work-dir', 'of_flag')).work_dir == 'of_flag'


def test_without_gpu_processes_use_gloo(config, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    assert load_config(parse(config)).env_cfg.dist_cfg.backend == 'gloo'
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    assert load_config(parse(config)).env_cfg.dist_cfg.backend == 'nccl'


def test_task_selects_its_judge_and_keeps_the_neutral_ones():
    kinds = [e['type'] for e in select_evaluators(EVALUATORS, 'map')]
    assert kinds == ['NexusMapMetric', 'DumpResults']
    assert select_evaluators(EVALUATORS, 'track') == EVALUATORS[1:]
    assert select_evaluators(EVALUATORS, 'all') == EVALUATORS
    assert select_evaluators(EVALUATORS[0], 'map') == EVALUATORS[:1]
    dense = [dict(type='NexusDenseMetric')]
    assert select_evaluators(dense + EVALUATORS[:1], 'dense') == dense


def test_task_without_a_judge_is_named():
    with pytest.raises(ValueError, match=r'--task track: .* no NexusTrackMetric, only \[.NexusMap'):
        select_evaluators(EVALUATORS[:1], 'track')


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="checkpoint '.*no.pth' does not exist; give"):
        require_checkpoint(str(tmp_path / 'no.pth'))
    with pytest.raises(FileNotFoundError, match='holds no checkpoint; train first'):
        require_checkpoint(str(tmp_path))
    assert require_checkpoint('s3://bucket/x.pth') == 's3://bucket/x.pth'
    with pytest.raises(FileNotFoundError, match=r'no\.py'):
        load_config(parse(tmp_path / 'no.py'))


def test_a_work_dir_stands_for_its_latest_checkpoint(tmp_path):
    (tmp_path / 'iter_5.pth').touch()
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_5.pth'))
    assert require_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_5.pth')


@pytest.fixture
def moved(tmp_path):
    """A work dir that has another name than when its checkpoint was written."""
    old, new = tmp_path / 'old', tmp_path / 'new'
    old.mkdir()
    (old / 'iter_5.pth').touch()
    (old / 'last_checkpoint').write_text(str(old / 'iter_5.pth'))
    return old.rename(new)


def test_a_work_dir_that_was_moved_keeps_its_latest_checkpoint(moved):
    assert require_checkpoint(str(moved)) == str(moved / 'iter_5.pth')
    (moved / 'iter_5.pth').unlink()
    with pytest.raises(FileNotFoundError, match="checkpoint '.*old/iter_5.pth' does not exist"):
        require_checkpoint(str(moved))
    (moved / 'last_checkpoint').write_text('s3://bucket/iter_5.pth')
    assert require_checkpoint(str(moved)) == 's3://bucket/iter_5.pth'


def test_a_copied_work_dir_has_its_own_checkpoint(moved):
    """The first folder may have been trained on, or belong to somebody else."""
    moved.with_name('old').mkdir()
    (moved.with_name('old') / 'iter_5.pth').touch()
    assert latest_checkpoint(str(moved)) == str(moved / 'iter_5.pth')


def test_a_bare_resume_finds_what_is_there_and_begins_where_nothing_is(config, moved, monkeypatch):
    config.write_text(config.read_text() + "\nload_from = 'start.pth'\n")
    monkeypatch.syspath_prepend(str(TOOLS))
    train, seen = importlib.import_module('train'), []
    monkeypatch.setattr(
        train, 'build_runner', lambda cfg: seen.append(cfg) or argparse.Namespace(train=bool)
    )
    for work_dir in (moved, moved / 'fresh'):
        monkeypatch.setattr(
            sys, 'argv', ['train', str(config), '--work-dir', str(work_dir), '--resume']
        )
        train.main()
    assert [cfg.get('resume') for cfg in seen] == [True, None]
    assert [cfg.get('load_from') for cfg in seen] == [str(moved / 'iter_5.pth'), 'start.pth']
