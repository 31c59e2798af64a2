# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""NexusFlow's regulariser by itself, on features of any tasks, and every method's configuration."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config

from nexusflow.supervision.view import View

CONFIGS = sorted((Path(__file__).parents[2] / 'configs' / 'nexusflow').glob('nexusflow_tiny*.py'))
ALIGNED = [
    path for path in CONFIGS
    if Config.fromfile(path).model.get('regulariser', {}).get('type') == 'NexusFlowRegulariser'
]  # fmt: skip
# all but those of another length or of other data
SAME_BUDGET = [path for path in CONFIGS if path.stem.split('_')[-1] not in ('15min', 'nus', 'av2')]
SAMPLES = [SimpleNamespace(tasks=('depth',)), SimpleNamespace(tasks=())]


def build(tasks, **kwargs):
    settings = dict(type='NexusFlowRegulariser', dim=8, tasks=tasks, **kwargs)
    return MODELS.build(settings, default_args=dict(channels=6))


def views():
    maps = {task: dict(bev=torch.randn(2, 6, 5, 4)) for task in ('classes', 'depth', 'normals')}
    maps['depth']['queries'] = torch.randn(2, 7, 3)
    maps['normals']['fine'] = torch.randn(2, 6, 9, 9)
    return [View(maps)]


def test_three_dense_tasks_of_which_two_read_several_taps():
    module = build(
        dict(
            classes=dict(type='bev', tap='bev'),
            depth=dict(
                type='mixture',
                parts=dict(bev=dict(type='bev'), queries=dict(type='queries', in_channels=3)),
            ),
            normals=dict(type='levels', tap=['fine', 'bev'], levels=[dict(type='bev')] * 2),
        )
    )
    out = module(views(), SAMPLES)
    assert {f'z_std_{task}' for task in ('classes', 'depth', 'normals')} < set(out)
    out['loss_align'].backward()
    assert all(p.grad is not None for p in module.parameters())
    assert module.extra_views == 0 and module.needs_dense is False


def test_parts_may_have_other_names_than_taps_and_tasks_other_channels():
    module = build(
        dict(
            classes=dict(type='bev', tap='bev'),
            depth=dict(type='queries', tap='queries', in_channels=3),
            normals=dict(
                type='mixture',
                tap=['bev', 'fine'],
                parts=dict(coarse=dict(type='bev'), close=dict(type='bev')),
            ),
        )
    )
    assert module.taps['normals'] == dict(coarse='bev', close='fine')
    assert module(views(), SAMPLES)['loss_align'] > 0


def test_faults_are_named():
    bev = dict(type='bev', tap='bev')
    with pytest.raises(ValueError, match="task 'depth': 'tap' must name one feature, got None"):
        build(dict(classes=bev, depth=dict(type='bev')))
    with pytest.raises(ValueError, match=r"give 'tap' as a list, one for each of \['a', 'b'\]"):
        parts = dict(a=dict(type='bev'), b=dict(type='bev'))
        build(dict(classes=bev, depth=dict(type='mixture', tap='bev', parts=parts)))
    module = build(dict(classes=bev, height=bev))
    with pytest.raises(KeyError, match="no features of task 'height', only of .*'depth'"):
        module(views(), SAMPLES)
    module = build(dict(classes=bev, depth=dict(bev, tap='nothing')))
    with pytest.raises(KeyError, match="'depth' has no tap 'nothing', only .*'queries'"):
        module(views(), SAMPLES)


def test_there_are_configurations_of_every_method():
    found = {path.stem.removeprefix('nexusflow_tiny').lstrip('_') for path in CONFIGS}
    methods = (
        'two_stage fine_tune mse noninvertible 4layers 8layers pairwise mmd sinkhorn unguarded'
    )
    assert found > {'', 'baseline', 'full', 'mtpsl', 'jtr'}
    assert found > set(methods.split())


@pytest.mark.parametrize('path', SAME_BUDGET, ids=lambda path: path.stem)
def test_methods_differ_from_the_baseline_in_little_and_have_its_budget(path):
    cfg, base = Config.fromfile(path), Config.fromfile(path.with_name('nexusflow_tiny_baseline.py'))
    # the weights of every method's regulariser learn at the same share of the model's rate
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys.regulariser.lr_scale == 0.1
    for key in ('train_cfg', 'param_scheduler', 'optim_wrapper', 'custom_hooks', 'val_evaluator'):
        assert cfg.get(key) == base.get(key)
    cfg.model.pop('regulariser', None)
    assert cfg.model == base.model
    two_stage = cfg.default_hooks.get('two_stage')
    if two_stage:
        assert two_stage.begin < cfg.max_iters
        model = MODELS.get(cfg.model.type)
        assert set(two_stage.get('freeze', ())) < set(model.__init__.__annotations__)


@pytest.mark.parametrize('path', ALIGNED, ids=lambda path: path.stem)
def test_a_step_of_every_variant_reaches_all_weights(small_config, clips, path):
    settings = small_config()
    settings.regulariser = Config.fromfile(path).model.regulariser
    settings.regulariser.dim = 16
    model = MODELS.build(settings)
    losses = model(**clips(2, 1, (32, 64), [('map',), ('track',)]), mode='loss')
    assert losses['loss_align'].isfinite() and losses['loss_align'] > 0
    loss, _ = model.parse_losses(losses)
    loss.backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert [n for n, p in trained.items() if p.grad is None] == []
    before = {n: p.detach().clone() for n, p in trained.items() if n.startswith('regulariser')}
    torch.optim.AdamW(model.parameters(), 1e-3).step()
    assert any(not torch.equal(trained[n], value) for n, value in before.items())
