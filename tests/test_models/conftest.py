# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The shipped models at a size that a test can afford."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config
from torch.utils._python_dispatch import TorchDispatchMode

import nexusflow.models  # noqa: F401  (registers the classes)
from nexusflow.models.bev.grid import BEVGrid
from nexusflow.testing import make_clip_batch

CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_'
CHANNELS = 24
BEV_GRID = dict(range_m=(-51.2, -51.2, 51.2, 51.2), cell_m=6.4)
MAP_GRID = dict(range_m=(-15.0, -30.0, 15.0, 30.0), cell_m=5.0)
# what only the model with two levels has
NEAR = {
    'near.in_channels': CHANNELS,
    'near.channels': CHANNELS,
    'near.far_grid': BEV_GRID,
    'near.grid': MAP_GRID,
    'map_head.bev_grid': MAP_GRID,
    'map_head.tracing': dict(num_rings=3, tracer=dict(num_seeds=10, num_steps=4)),
}
SHRINK = {
    'img_backbone.init_cfg': None,
    'lift.in_channels': CHANNELS,
    'lift.out_channels': CHANNELS,
    'lift.grid': BEV_GRID,
    'temporal.channels': CHANNELS,
    'temporal.grid': BEV_GRID,
    'map_head.channels': CHANNELS,
    'map_head.bev_grid': BEV_GRID,
    'map_head.grid': MAP_GRID,
    'map_head.num_queries': 8,
    'track_head.channels': CHANNELS,
    'track_head.bev_grid': BEV_GRID,
    'track_head.grid': BEV_GRID,
    'track_head.num_queries': 10,
}
BASE_CHANNELS = 8
# one query that is matched otherwise, as after any small change of the images, changes these in a jump
OF_MATCHED_QUERIES = re.compile(r'_d\d+_')
LSS = dict(
    type='NexusLSSLift',
    in_channels=CHANNELS,
    out_channels=CHANNELS,
    grid=BEV_GRID,
    depth_m=(2.0, 42.0, 8.0),
)


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def small_config():
    """Function (base, lift, regulariser) -> configuration of a shipped model, shrunk."""
    register_all_modules()

    def make(base='model_tiny', lift='NexusVoxelLift', regulariser=False):
        cfg = Config.fromfile(CONFIGS / f'{base}.py')
        changes = SHRINK | (NEAR if 'near' in cfg.model else {})
        cfg.merge_from_dict({f'model.{key}': value for key, value in changes.items()})
        backbone, neck = cfg.model.img_backbone, cfg.model.img_neck
        narrow = backbone.get('base_channels', 64) // BASE_CHANNELS
        backbone.base_channels = BASE_CHANNELS
        neck.in_channels = [channels // narrow for channels in neck.in_channels]
        neck.out_channels = [CHANNELS // len(neck.in_channels)] * len(neck.in_channels)
        if lift == 'NexusLSSLift':
            cfg.model.lift = LSS
        if regulariser:
            cfg.model.regulariser = Config.fromfile(
                CONFIGS / 'regulariser_nexusflow.py'
            ).regulariser
            cfg.model.regulariser.dim = 16
        return cfg.model

    return make


@pytest.fixture(scope='session')
def small_model(small_config):
    """Function (base, lift, regulariser) -> a fresh model; the seed decides its weights."""

    def make(*args, seed=0, **kwargs):
        torch.manual_seed(seed)
        model = MODELS.build(small_config(*args, **kwargs))
        return model

    return make


@pytest.fixture(scope='session')
def clips():
    """Function of ``make_clip_batch``'s arguments -> what the preprocessor makes of the batch."""
    preprocessor = MODELS.build(dict(type='NexusDataPreprocessor'))

    def make(*args, **kwargs):
        return preprocessor(copy.deepcopy(make_clip_batch(*args, **kwargs)))

    return make


@pytest.fixture
def bev_grid():
    return BEVGrid(**BEV_GRID)


@pytest.fixture
def fine_grid():
    return BEVGrid((-12.8, -12.8, 12.8, 12.8), 1.28)


@pytest.fixture
def map_grid():
    return BEVGrid(**MAP_GRID)


@pytest.fixture(scope='session')
def assert_learns_in_bfloat16():
    """Function (model, data): asserts that autocast leaves the losses what they are, and gradients finite."""

    def losses_of(model, data, mixed):
        torch.manual_seed(1)
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=mixed):
            losses = model(**data, mode='loss')
        return {name: value for name, value in losses.items() if 'loss' in name}

    def check(model, data):
        expected = losses_of(model, data, mixed=False)
        losses = losses_of(model, data, mixed=True)
        assert {value.dtype for value in losses.values()} == {torch.float32}
        for name, value in losses.items():
            if not OF_MATCHED_QUERIES.search(name):
                assert value.item() == pytest.approx(expected[name].item(), rel=0.1), name
        total = sum(losses.values())
        assert total.item() == pytest.approx(sum(expected.values()).item(), rel=0.1)
        total.backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        assert len(gradients) > 10
        assert [name for name, grad in gradients.items() if not grad.isfinite().all()] == []

    return check


class _Recorder(TorchDispatchMode):
    """Lists the operations that are dispatched within it."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func._schema.name.removeprefix('aten::'))
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope='session')
def operations():
    """Function (function) -> names of the operations that torch runs for it, in order."""

    def record(function):
        with _Recorder() as recorder:
            function()
        return recorder.names

    return record
