# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A training step and a prediction give on every device what they give on the CPU."""

import copy
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

import nexusflow.engine  # noqa: F401  (registers the optimizer)
from nexusflow.testing import make_clip_batch, make_dense_batch

CONFIGS = Path(__file__).parents[2] / 'configs' / 'nexusflow'
DENSE = CONFIGS.parent / 'nyuv2' / 'nyuv2_tiny_nexusflow.py'
METHODS = ['nexusflow_tiny', 'nexusflow_tiny_mtpsl', 'nexusflow_tiny_jtr']
SIZE = (64, 96)
DEVICES = [
    'cpu',
    pytest.param(
        'cuda',
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device'),
        ],
    ),
]


def outcome(cfg, device):
    """Losses of a training step on partial labels; the stepped model's maps of the head; how many boxes it finds."""
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).to(device)
    optim = build_optim_wrapper(model, cfg.optim_wrapper)
    losses = model.train().train_step(make_clip_batch(2, 2, SIZE, [('map',), ('track',)]), optim)
    frame = make_clip_batch(1, 1, SIZE, seed=1)
    model.eval()
    with torch.no_grad():
        bev = model(**model.data_preprocessor(copy.deepcopy(frame)), mode='tensor')
        dense = model.track_head.dense_forward(bev.flatten(0, 1))
        (sample,) = model.test_step(frame)
    assert bev.device.type == device
    maps = {name: dense[name].cpu() for name in ('heat', 'segmentation', 'dense_code')}
    return losses, maps, len(sample.pred_detections_3d)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('method', METHODS)
def test_step_and_prediction_are_those_of_the_cpu(method, device):
    register_all_modules()
    cfg = Config.fromfile(CONFIGS / f'{method}.py')
    # every query counts, or a model of one step would find nothing
    cfg.model.lifecycle = dict(birth_score=0.0, detection_score=0.0)
    losses, maps, found = outcome(cfg, 'cpu')
    other_losses, other_maps, other_found = outcome(cfg, device)
    assert losses.keys() == other_losses.keys() and len(losses) > 5
    for name, value in losses.items():
        assert other_losses[name].item() == pytest.approx(value.item(), rel=1e-3, abs=1e-4), name
    for name, value in maps.items():
        assert value.std() > 0 and torch.allclose(other_maps[name], value, atol=0.02), name
    assert found == other_found > 0


def dense_outcome(cfg, device):
    """Losses of a training step on images of one label each; the stepped model's predictions."""
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).to(device)
    optim = build_optim_wrapper(model, cfg.optim_wrapper)
    tasks = [(task,) for task in model.heads]
    losses = model.train().train_step(make_dense_batch(len(tasks), SIZE, tasks), optim)
    images = model.data_preprocessor(make_dense_batch(1, SIZE, seed=1))['inputs']
    with torch.no_grad():
        maps = model.eval()(images)
    assert {value.device.type for value in maps.values()} == {device}
    return losses, {name: value.cpu() for name, value in maps.items()}


@pytest.mark.parametrize('device', DEVICES)
def test_dense_step_and_prediction_are_those_of_the_cpu(device):
    register_all_modules()
    cfg = Config.fromfile(DENSE)
    losses, maps = dense_outcome(cfg, 'cpu')
    other_losses, other_maps = dense_outcome(cfg, device)
    assert losses.keys() == other_losses.keys() and len(losses) > 5
    for name, value in losses.items():
        assert other_losses[name].item() == pytest.approx(value.item(), rel=1e-3, abs=1e-4), name
    for name, value in maps.items():
        assert value.std() > 0 and torch.allclose(other_maps[name], value, atol=0.02), name
