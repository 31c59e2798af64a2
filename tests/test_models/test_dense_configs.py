# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The shipped configurations of dense tasks, and the fourth task that the documentation adds."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config

from nexusflow.engine.cli import build_runner
from nexusflow.testing import make_dense_batch

REPO = Path(__file__).parents[2]
CONFIGS = REPO / 'configs'
SHIPPED = sorted((CONFIGS / 'nyuv2').glob('*.py'))
WIDTHS = (4, 4, 4, 4, 6)
ONE_LABEL = [('segmentation',), ('depth',), ('normal',)]
spec = importlib.util.spec_from_file_location('folder', Path(__file__).parent / 'dense_folder.py')
folder = importlib.util.module_from_spec(spec)
spec.loader.exec_module(folder)


@pytest.fixture(autouse=True, scope='module')
def _modules():
    register_all_modules()


@pytest.fixture(scope='module')
def data_root(tmp_path_factory):
    return folder.write_folder(tmp_path_factory.mktemp('dense'), dict(train=12, val=5))


def shrink(cfg):
    """The model at a size that a test can afford."""
    trunk = cfg.model.trunk
    if trunk.type == 'NexusSegNet':
        trunk.widths = WIDTHS
    else:
        trunk.backbone.base_channels = 4
        trunk.neck.update(in_channels=[4, 8, 16, 32], out_channels=8)
    regulariser = cfg.model.get('regulariser') or {}
    if regulariser.get('type') == 'NexusFlowRegulariser':
        regulariser.dim = 8
    elif regulariser:
        regulariser.widths = WIDTHS if trunk.type == 'NexusSegNet' else (4, 4, 4, 32)
    return cfg


def test_there_is_a_configuration_of_each_method_for_nyuv2_and_for_a_cpu():
    methods = ('baseline', 'nexusflow', 'mtpsl', 'jtr', 'mse', 'full')
    names = {f'nyuv2_segnet_{method}_200e' for method in methods}
    names |= {f'nyuv2_tiny_{method}' for method in methods}
    names |= {f'nyuv2_tiny_single_{task}' for task in ('segmentation', 'depth', 'normal')}
    assert {path.stem for path in SHIPPED} == names


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_each_configuration_takes_a_step(path):
    cfg = shrink(Config.fromfile(path))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    data = model.data_preprocessor(make_dense_batch(3, (64, 96), ONE_LABEL))
    losses = model(**data, mode='loss')
    tasks = {name.split('_')[1] for name in losses if name.startswith('loss_')}
    assert set(model.heads) <= tasks
    extra = {'nexusflow': 'align', 'mse': 'align', 'mtpsl': 'mtpsl', 'jtr': 'jtr'}
    method = next((m for m in extra if m in path.stem), None)
    assert (tasks - set(model.heads) != set()) == (method is not None)
    assert method is None or extra[method] in tasks
    model.parse_losses(losses)[0].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.trunk.parameters())


def test_the_published_recipe():
    cfg = Config.fromfile(CONFIGS / 'nyuv2' / 'nyuv2_segnet_baseline_200e.py')
    assert cfg.optim_wrapper.optimizer == dict(type='Adam', lr=1e-4)
    assert cfg.param_scheduler == [dict(type='StepLR', step_size=100, gamma=0.5)]
    assert cfg.train_cfg.max_epochs == 200 and cfg.train_dataloader.batch_size == 4
    assert [t['type'] for t in cfg.train_pipeline] == ['NexusDenseScaleCrop', 'NexusPackDense']
    model = MODELS.build(cfg.model)
    assert sum(p.numel() for p in model.parameters()) == 25_055_185


def run(cfg, work_dir, data_root, name, iters=3):
    """Train and test as tools/train.py and tools/test.py do."""
    cfg = shrink(cfg)
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, batch_size=4)
        loader.dataset.data_root = str(data_root)
    cfg.train_cfg.max_iters = iters
    cfg.default_hooks.logger.interval = 1
    cfg.work_dir, cfg.experiment_name = str(work_dir), name
    runner = build_runner(cfg)
    runner.train()
    (log,) = Path(work_dir).rglob('scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if 'loss' in line], runner.test()


def test_the_tiny_configuration_trains_and_is_judged(tmp_path, data_root):
    cfg = Config.fromfile(CONFIGS / 'nyuv2' / 'nyuv2_tiny_nexusflow.py')
    log, metrics = run(cfg, tmp_path, data_root, 'dense_tiny')
    assert len(log) == 3 and {'loss_segmentation_nll', 'loss_align'} <= set(log[0])
    assert 0 <= metrics['segmentation/mIoU'] <= 1 and metrics['depth/abs_err'] > 0
    assert (tmp_path / 'iter_3.pth').is_file()


def test_a_single_task_is_judged_by_itself(tmp_path, data_root):
    cfg = Config.fromfile(CONFIGS / 'nyuv2' / 'nyuv2_tiny_single_depth.py')
    log, metrics = run(cfg, tmp_path, data_root, 'dense_single')
    assert {name for name in log[0] if name.startswith('loss_')} == {'loss_depth_l1'}
    assert set(metrics) == {'depth/abs_err', 'depth/rel_err', 'depth/rmse'}
    assert log[0]['loss_depth_l1'] > 0


def test_the_documented_fourth_task_runs(tmp_path, data_root, monkeypatch):
    text = (REPO / 'docs' / 'fourth_task.md').read_text()
    head, config = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    shutil.copytree(CONFIGS, tmp_path / 'configs')
    (tmp_path / 'edge_head.py').write_text(head)
    path = tmp_path / 'configs' / 'nyuv2' / 'nyuv2_tiny_edges.py'
    path.write_text(config)
    assert f'configs/nyuv2/{path.name}' in text
    monkeypatch.syspath_prepend(tmp_path)
    log, metrics = run(Config.fromfile(path), tmp_path / 'work', data_root, 'dense_edges')
    assert sum(line['loss_edge_bce'] for line in log) > 0
    assert 'z_std_edge' in log[0] and 'loss_align' in log[0]
    assert {'edge/IoU', 'edge/F1', 'segmentation/mIoU'} <= set(metrics)
