# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import argparse
import os

import pytest

from nexusflow.engine.cli import (
    add_common_arguments,
    load_config,
    require_checkpoint,
    select_evaluators,
)

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
