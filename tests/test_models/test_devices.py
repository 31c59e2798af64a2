# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A training step and a prediction are sound on the CPU, and on a GPU what they are there."""

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
needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a CUDA device: make test-gpu'
)


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


def settings(method):
    """A shipped configuration of which every query counts, or a model of one step would find nothing."""
    register_all_modules()
    cfg = Config.fromfile(CONFIGS / f'{method}.py')
    cfg.model.lifecycle = dict(birth_score=0.0, detection_score=0.0)
    return cfg


def assert_sound(losses, maps):
    assert len(losses) > 5
    assert all(value.isfinite().all() for value in losses.values())
    for name, value in maps.items():
        assert value.isfinite().all() and value.std() > 0, name


def assert_agree(losses, maps, other_losses, other_maps):
    assert losses.keys() == other_losses.keys() and maps.keys() == other_maps.keys()
    for name, value in losses.items():
        assert other_losses[name].item() == pytest.approx(value.item(), rel=1e-3, abs=1e-4), name
    for name, value in maps.items():
        assert torch.allclose(other_maps[name], value, atol=0.02), name


@pytest.mark.parametrize('method', METHODS)
def test_step_and_prediction_on_the_cpu_are_sound(method):
    losses, maps, found = outcome(settings(method), 'cpu')
    assert_sound(losses, maps)
    assert found > 0


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize('method', METHODS)
def test_step_and_prediction_on_a_gpu_are_those_of_the_cpu(method):
    losses, maps, found = outcome(settings(method), 'cpu')
    other_losses, other_maps, other_found = outcome(settings(method), 'cuda')
    assert_agree(losses, maps, other_losses, other_maps)
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


def test_dense_step_and_prediction_on_the_cpu_are_sound():
    register_all_modules()
    assert_sound(*dense_outcome(Config.fromfile(DENSE), 'cpu'))


@pytest.mark.gpu
@needs_cuda
def test_dense_step_and_prediction_on_a_gpu_are_those_of_the_cpu():
    register_all_modules()
    cfg = Config.fromfile(DENSE)
    assert_agree(*dense_outcome(cfg, 'cpu'), *dense_outcome(cfg, 'cuda'))
