# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Runs on data whose map is of another rectangle than the model's."""

from types import SimpleNamespace

import pytest

from nexusflow.engine.cli import build_runner
from nexusflow.engine.hooks.map_range_hook import NexusMapRangeHook, check_map_range
from nexusflow.models.bev.grid import BEVGrid

NEAR, FAR = (-15.0, -30.0, 15.0, 30.0), (-50.0, -25.0, 50.0, 25.0)


def data(range_m):
    return SimpleNamespace(metainfo={'map_range_m': list(range_m)}, ann_file='infos.pkl')


def model(range_m):
    return SimpleNamespace(map_head=SimpleNamespace(grid=BEVGrid(range_m, cell_m=2.5)))


def test_both_rectangles_and_the_mend_are_named():
    check_map_range(model(NEAR), data(NEAR))
    message = (
        'infos.pkl: .* map_range_m -50 -25 50 25, model.map_head.grid.range_m is -15 -30 15 30: '
        'convert the data with tools/create_data.py --map-range -15 -30 15 30 or'
    )
    with pytest.raises(ValueError, match=message):
        check_map_range(model(NEAR), data(FAR))


def test_what_has_no_map_is_let_through():
    check_map_range(SimpleNamespace(), data(FAR))
    check_map_range(model(NEAR), SimpleNamespace(metainfo={}))
    check_map_range(model(NEAR), [])


def test_a_training_is_refused_before_its_first_step(toy_run, tmp_path, monkeypatch):
    monkeypatch.setattr(toy_run.ToyDataset, 'metainfo', data(FAR).metainfo, raising=False)
    monkeypatch.setattr(toy_run.ToyModel, 'map_head', model(NEAR).map_head, raising=False)
    cfg = toy_run.make_config(tmp_path)
    cfg.experiment_name = 'map_range'
    runner = build_runner(cfg)
    with pytest.raises(
        ValueError, match=r'ToyDataset: .* map_range_m -50 -25 50 25, model\.map_head'
    ):
        runner.train()
    assert runner.iter == 0


def test_validation_and_test_data_are_looked_at_too():
    loops = {
        name: SimpleNamespace(dataloader=SimpleNamespace(dataset=data(range_m)))
        for name, range_m in (('train_loop', NEAR), ('val_loop', FAR), ('test_loop', FAR))
    }
    hook, runner = NexusMapRangeHook(), SimpleNamespace(model=model(NEAR), **loops)
    for start in (hook.before_train, hook.before_test):
        with pytest.raises(ValueError, match='infos.pkl'):
            start(runner)
    runner.val_loop = None
    hook.before_train(runner)
