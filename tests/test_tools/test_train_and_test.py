# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What the flags of tools/train.py and tools/test.py make of a config."""

import importlib.util
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from mmengine.config import Config

TOOLS = Path(__file__).parents[2] / 'tools'


def load_tool(name):
    spec = importlib.util.spec_from_file_location(f'tool_{name}', TOOLS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def train():
    return load_tool('train')


@pytest.fixture(scope='module')
def tester():
    return load_tool('test')


@pytest.mark.parametrize(
    'wrapper',
    [dict(clip_grad=dict(max_norm=5)), dict(type='OptimWrapper', clip_grad=dict(max_norm=5))],
    ids=['type left out', 'plain'],
)
def test_amp_mixes_the_precision_of_a_plain_wrapper_and_keeps_its_settings(train, wrapper):
    cfg = Config(dict(optim_wrapper=wrapper))
    train.enable_amp(cfg)
    mixed = dict(type='AmpOptimWrapper', loss_scale='dynamic', clip_grad=dict(max_norm=5))
    assert cfg.optim_wrapper == mixed


@pytest.mark.parametrize(
    'settings',
    [dict(loss_scale=512.0), dict(dtype='bfloat16')],
    ids=lambda value: next(iter(value)),
)
def test_amp_leaves_a_wrapper_that_is_mixed_already(train, settings):
    cfg = Config(dict(optim_wrapper=dict(type='AmpOptimWrapper', **settings)))
    train.enable_amp(cfg)
    assert cfg.optim_wrapper == dict(type='AmpOptimWrapper', **settings)


def test_amp_names_a_wrapper_that_it_cannot_mix(train):
    cfg = Config(dict(optim_wrapper=dict(type='ApexOptimWrapper')))
    with pytest.raises(
        ValueError, match=r"--amp needs .*'OptimWrapper', .* has 'ApexOptimWrapper'"
    ):
        train.enable_amp(cfg)


@pytest.mark.parametrize('before', [{}, dict(enable=False)], ids=['not said', 'off'])
def test_auto_scale_lr_is_switched_on(train, before):
    cfg = Config(dict(auto_scale_lr=dict(base_batch_size=16, **before)))
    train.enable_auto_scale_lr(cfg)
    assert cfg.auto_scale_lr == dict(base_batch_size=16, enable=True)


@pytest.mark.parametrize('settings', [{}, dict(auto_scale_lr=dict(enable=False))])
def test_auto_scale_lr_needs_to_know_the_batch_size(train, settings):
    with pytest.raises(ValueError, match=r'--auto-scale-lr needs .*base_batch_size=\.\.\.'):
        train.enable_auto_scale_lr(Config(settings))


@pytest.mark.parametrize(
    ('flags', 'sync_bn'),
    [
        ([], None),
        (['--sync_bn', 'none'], None),
        (['--sync_bn', 'torch'], 'torch'),
        (['--sync_bn', 'mmcv'], 'mmcv'),
    ],
    ids=['no flag', 'none', 'torch', 'mmcv'],
)
def test_sync_bn_reaches_the_runner(train, tmp_path, monkeypatch, flags, sync_bn):
    config, seen = tmp_path / 'toy.py', []
    config.write_text('model = dict()\n')
    monkeypatch.setattr(
        train, 'build_runner', lambda cfg: seen.append(cfg) or Namespace(train=bool)
    )
    monkeypatch.setattr(sys, 'argv', ['train', str(config), *flags])
    monkeypatch.setenv('LOCAL_RANK', '0')
    train.main()
    assert [cfg.get('sync_bn') for cfg in seen] == [sync_bn]


@pytest.mark.parametrize(
    ('flags', 'added'),
    [
        (dict(show_dir='out'), dict(test_out_dir='out')),
        (dict(show=True), dict(show=True, wait_time=2.0)),
        (dict(show=True, show_dir='out'), dict(show=True, wait_time=2.0, test_out_dir='out')),
    ],
    ids=['folder', 'window', 'both'],
)
def test_pictures_are_drawn_where_they_were_asked_for(tester, flags, added):
    cfg = Config(dict(default_hooks=dict(visualization=dict(type='Hook', draw=False, interval=7))))
    args = dict(show=False, show_dir=None, score_thr=0.3, wait_time=2.0) | flags
    tester.enable_pictures(cfg, Namespace(**args))
    drawn = dict(type='Hook', draw=True, interval=7, score_thr=0.3)
    assert cfg.default_hooks.visualization == drawn | added


@pytest.mark.parametrize('settings', [{}, dict(default_hooks=dict(timer=dict(type='Timer')))])
def test_pictures_need_the_hook_that_draws(tester, settings):
    with pytest.raises(ValueError, match=r'--show-dir need default_hooks\.visualization'):
        tester.enable_pictures(Config(settings), Namespace())


def with_tta(*left_out):
    settings = dict(
        model=dict(type='Model', depth=3),
        test_dataloader=dict(batch_size=1, dataset=dict(type='Data', pipeline=[dict(type='One')])),
        tta_model=dict(type='TTA', merge='mean'),
        tta_pipeline=[dict(type='Many')],
    )
    return Config({key: value for key, value in settings.items() if key not in left_out})


def test_tta_wraps_the_model_and_replaces_the_pipeline(tester):
    cfg = with_tta()
    tester.enable_tta(cfg)
    assert cfg.model == dict(type='TTA', merge='mean', module=dict(type='Model', depth=3))
    data = dict(type='Data', pipeline=[dict(type='Many')])
    assert cfg.test_dataloader == dict(batch_size=1, dataset=data)


@pytest.mark.parametrize('key', ['tta_model', 'tta_pipeline'])
def test_tta_names_what_the_config_lacks(tester, key):
    with pytest.raises(ValueError, match=f"--tta needs '{key}' in the config"):
        tester.enable_tta(with_tta(key))
