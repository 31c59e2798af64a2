# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What the ResNet-50 configurations ask of distributed training."""

from datetime import timedelta
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import init_dist
from mmengine.model import convert_sync_batchnorm, revert_sync_batchnorm
from torch.nn.modules.batchnorm import _BatchNorm

CONFIGS = Path(__file__).parents[2] / 'configs' / 'nexusflow'


@pytest.fixture(params=sorted(CONFIGS.glob('nexusflow_r50*.py')), ids=lambda path: path.stem)
def cfg(request):
    return Config.fromfile(request.param)


def norms(model):
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def test_batch_statistics_are_those_of_all_processes(cfg, small_model, clips):
    """By mmengine's functions: its runner calls the first in distributed training, the second in any other."""
    model = convert_sync_batchnorm(small_model('model_r50'), cfg.sync_bn).train()
    assert all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms(model))
    assert not any(norm.training for norm in norms(model.img_backbone))
    assert all(norm.training for norm in norms(model.map_head))
    alone = revert_sync_batchnorm(model)
    assert not any(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms(alone))
    losses = alone(**clips(1, 2, (32, 64)), mode='loss')
    assert all(value.isfinite().all() for value in losses.values())


def test_processes_wait_two_hours_for_the_one_that_evaluates(cfg, monkeypatch):
    started = []
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setenv('WORLD_SIZE', '1')
    monkeypatch.setattr('torch.cuda.set_device', lambda index: None)
    monkeypatch.setattr('torch.multiprocessing.get_start_method', lambda allow_none: 'fork')
    monkeypatch.setattr('torch.distributed.init_process_group', lambda **kw: started.append(kw))
    init_dist('pytorch', **cfg.env_cfg.dist_cfg)
    assert started == [dict(backend='nccl', timeout=timedelta(hours=2))]
