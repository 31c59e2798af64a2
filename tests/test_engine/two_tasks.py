# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A detector of two tasks that trains in a second: vectors in, two numbers out, half of the samples labelled for each.

It has what hooks could disturb: batch statistics, dropout, and a regulariser with weights of its own.
"""

import os
from types import SimpleNamespace

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

import nexusflow.engine
import nexusflow.models  # noqa: F401
from nexusflow.supervision.masking import label_mask, masked_mean
from nexusflow.supervision.view import View

TASKS = ('map', 'track')
REGULARISER = dict(
    type='mmdet3d.NexusFlowRegulariser',
    dim=8,
    flow=dict(num_layers=2),
    tasks={task: dict(type='vector', tap='hidden') for task in TASKS},
)


@MODELS.register_module(force=True)
class TwoTaskModel(BaseModel):
    """An encoder, a head a task, a regulariser."""

    def __init__(self, regulariser=None, constant=None):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2))
        self.hidden = nn.ModuleDict({task: nn.Linear(8, 6) for task in TASKS})
        self.heads = nn.ModuleDict({task: nn.Linear(6, 1) for task in TASKS})
        self.regulariser = None
        if regulariser:
            with torch.random.fork_rng():
                self.regulariser = MODELS.build(regulariser, default_args=dict(channels=6))
        if constant:
            last = self.regulariser.nexus.surrogates[constant].aggregator.project[2]
            nn.init.zeros_(last.weight)
            last.weight.requires_grad_(False)

    def forward(self, x, tasks, mode='tensor'):
        shared = self.encoder(torch.stack(x))
        features = {task: dict(hidden=F.relu(self.hidden[task](shared))) for task in TASKS}
        losses = {}
        for task in TASKS:
            error = (self.heads[task](features[task]['hidden'])[:, 0] - torch.stack(x)[:, 0]) ** 2
            losses[f'loss_{task}_error'] = masked_mean(error, label_mask(tasks, task))
        if self.regulariser is not None:
            samples = [SimpleNamespace(tasks=names) for names in tasks]
            losses.update(self.regulariser([View(features)], samples))
        return losses


@DATASETS.register_module(force=True)
class TwoTaskData(Dataset):
    """Vectors, labelled for one task each."""

    def __len__(self):
        return 32

    def __getitem__(self, index):
        x = torch.randn(4, generator=torch.Generator().manual_seed(index))
        return dict(x=x, tasks=TASKS[index % 2])


def make_runner(work_dir, hooks=(), max_iters=12, regulariser=REGULARISER, **model):
    """A runner on the CPU; ``hooks`` by name, and it resumes if it can."""
    cfg = Config(
        dict(
            default_scope='mmdet3d',
            work_dir=str(work_dir),
            model=dict(type='mmengine.TwoTaskModel', regulariser=regulariser, **model),
            train_dataloader=dict(
                batch_size=4,
                num_workers=0,
                sampler=dict(type='InfiniteSampler', shuffle=True),
                dataset=dict(type='mmengine.TwoTaskData'),
                collate_fn=dict(type='pseudo_collate'),
            ),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01), clip_grad=dict(max_norm=1.0)),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=1000),
            default_hooks=dict(
                checkpoint=dict(type='NexusCheckpointHook', interval=4, by_epoch=False),
                random_seed=dict(type='NexusSeedHook'),
                logger=dict(type='LoggerHook', interval=1),
                **dict(hooks),
            ),
            log_processor=dict(by_epoch=False),
            randomness=dict(seed=3),
            resume=True,
        )
    )
    if torch.distributed.is_initialized():
        cfg.launcher = 'pytorch'
        cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)
    cfg.experiment_name = f'{os.getpid()}_{id(cfg)}'
    return Runner.from_cfg(cfg)


def train(*args, **kwargs):
    """The trained runner's state and itself."""
    runner = make_runner(*args, **kwargs)
    runner.train()
    model = getattr(runner.model, 'module', runner.model)
    return {name: value.clone() for name, value in model.state_dict().items()}, runner
