# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What a training says of its own cost."""

import json

import pytest
from mmengine.runner import Runner
from torch import nn

from nexusflow.engine.hooks.run_record_hook import count_parameters, usual_mean


def test_regulariser_is_not_counted_at_inference():
    model = nn.Module()
    model.layer, model.regulariser = nn.Linear(4, 1), nn.Linear(9, 1)
    assert count_parameters(model) == {'parameters': 15, 'parameters_inference': 5}
    model.regulariser = None
    assert count_parameters(model) == {'parameters': 5, 'parameters_inference': 5}


def test_mean_leaves_the_warm_up_and_hiccups_out_and_sees_a_second_stage():
    assert usual_mean([9, 9, 1, 2, 4], 2) == pytest.approx(7 / 3)
    assert usual_mean([9, 8], 2) == 8.5
    assert usual_mean([1.0] * 99 + [1000.0], 0) == pytest.approx(1.02)
    assert usual_mean([1.0] * 200 + [1.9] * 100, 0) == pytest.approx(1.3)


@pytest.mark.parametrize('stop_after', [None, 6])
def test_record_of_a_training_also_of_a_resumed_one(toy_run, tmp_path, stop_after):
    cfg = toy_run.make_config(tmp_path)
    cfg.custom_hooks = [dict(type='NexusRunRecordHook', warm_up=2)]
    if stop_after:
        first = cfg.copy()
        first.train_cfg = dict(cfg.train_cfg, max_iters=stop_after)
        first.experiment_name = f'record_first_{tmp_path.name}'
        Runner.from_cfg(first).train()
    cfg.experiment_name = f'record_{tmp_path.name}'
    runner = Runner.from_cfg(cfg)
    runner.train()
    record = json.loads((tmp_path / 'run_record.json').read_text())
    assert (record['parameters'], record['parameters_inference']) == (5, 5)
    assert record['iterations'] == toy_run.MAX_ITERS and record['device'] == 'cpu'
    seconds, _ = runner.message_hub.get_scalar('train/time').data
    # the times of the iterations before the interruption are in the checkpoint
    assert len(seconds) == toy_run.MAX_ITERS
    assert record['step_s'] == pytest.approx(usual_mean(seconds, 2))
    # Python with torch takes more than 50 MiB, and the machine has less than a TiB
    assert 50 < record['peak_mb'] < 2**20
