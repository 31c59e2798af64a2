# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The adapter as a reader of the documentation uses it: the tutorial, and the shipped configuration."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS as MODELS_3D
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from nexusflow.datasets.transforms.label_tasks import NexusLabelTasks
from nexusflow.models.adapter import NexusFlowAdapter

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / 'configs' / 'adapter' / 'mask_rcnn_r50_nexusflow.py'


def test_the_tutorial_runs():
    text = (ROOT / 'docs' / 'adapter.md').read_text(encoding='utf-8')
    blocks = re.findall(r'^```python\n(.*?)^```', text, flags=re.DOTALL | re.MULTILINE)
    names = {}
    torch.manual_seed(0)
    for i, block in enumerate(blocks):
        exec(compile(block, f'docs/adapter.md, block {i}', 'exec'), names)
    assert {'loss_rpn_cls', 'loss_mask', 'loss_align', 'align_distance'} <= names['log'].keys()


@pytest.fixture
def scope():
    """Function (name) -> context in which a runner with that default scope builds."""
    return DefaultScope.overwrite_default_scope


def test_the_configuration_builds(scope):
    cfg = Config.fromfile(CONFIG)
    with scope(cfg.default_scope):
        model = MODELS.build(copy.deepcopy(cfg.model))
    assert isinstance(model, NexusFlowAdapter)
    assert cfg.default_scope == 'mmdet' and type(model).__mro__[2].__name__ == 'MaskRCNN'
    surrogates = model.nexusflow.regulariser.nexus.surrogates
    assert surrogates['box'].aggregator.score.in_features == 1024
    assert surrogates['mask'].aggregator.score.in_features == 256


def test_a_type_with_prefix_is_built_in_its_library(bare_config, scope):
    cfg = bare_config('mask_rcnn')
    assert cfg.type == 'mmdet.MaskRCNN' and cfg.backbone.type == 'ResNet'
    tasks = dict(box=dict(tap='neck', losses=['*'], labels=['gt_instances']))
    with scope('mmdet3d'):
        model = MODELS_3D.build(dict(type='NexusFlowAdapter', detector=cfg, tasks=tasks))
    assert type(model.backbone).__module__.startswith('mmdet.')
    assert model.nexusflow.regulariser is None


def test_the_pipeline_labels_by_path():
    (rule,) = [t for t in Config.fromfile(CONFIG).train_pipeline if 'LabelTasks' in t.type]
    rule = NexusLabelTasks(tasks=rule.tasks)
    assert rule(dict(img_path='train2017/000000000009.jpg'))['tasks'] == ('box', 'mask')
    assert rule(dict(img_path='train2017/000000000030.jpg'))['tasks'] == ('box',)
    with pytest.raises(KeyError, match="no 'img_path', only \\['img'\\]"):
        rule(dict(img=0))
