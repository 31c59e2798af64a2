# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A training run of a second, as a script: ``toy_run.py WORK_DIR [kill]`` resumes if it can.

With ``kill`` it kills itself in the middle of writing its second checkpoint.
"""

import os
import signal
import sys

import torch
from mmengine.config import Config
from mmengine.fileio import LocalBackend
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

import nexusflow.engine  # noqa: F401

MAX_ITERS = 9


@MODELS.register_module(force=True)
class ToyModel(BaseModel):
    """Random numbers in the forward pass, so that a resumed run shows whether they were kept."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x, mode='tensor'):
        y = self.layer(F.dropout(torch.stack(x).float(), 0.5, self.training))
        return dict(loss=y.square().mean(), spread=y.std().detach()) if mode == 'loss' else y


@DATASETS.register_module(force=True)
class ToyDataset(Dataset):
    """Sixteen vectors."""

    def __len__(self):
        return 16

    def __getitem__(self, index):
        return dict(x=torch.randn(4, generator=torch.Generator().manual_seed(index)))


class KillingBackend(LocalBackend):
    """Dies after half of a checkpoint."""

    def put(self, obj, filepath):
        super().put(obj[: len(obj) // 2], filepath)
        os.kill(os.getpid(), signal.SIGKILL)


def make_config(work_dir, interval=3, max_keep_ckpts=1):
    return Config(
        dict(
            default_scope='mmdet3d',
            work_dir=str(work_dir),
            model=dict(type='mmengine.ToyModel'),
            train_dataloader=dict(
                batch_size=4,
                num_workers=0,
                sampler=dict(type='InfiniteSampler', shuffle=True),
                dataset=dict(type='mmengine.ToyDataset'),
                collate_fn=dict(type='pseudo_collate'),
            ),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
            param_scheduler=[dict(type='OneCycleLR', eta_max=0.1, total_steps=9, by_epoch=False)],
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=MAX_ITERS, val_interval=1000),
            default_hooks=dict(
                checkpoint=dict(
                    type='NexusCheckpointHook',
                    interval=interval,
                    by_epoch=False,
                    max_keep_ckpts=max_keep_ckpts,
                ),
                random_seed=dict(type='NexusSeedHook'),
                logger=dict(type='LoggerHook', interval=1),
            ),
            log_processor=dict(by_epoch=False),
            randomness=dict(seed=5),
            resume=True,
        )
    )


def train(work_dir, **kwargs):
    """Train, or resume; returns the weights."""
    cfg = make_config(work_dir, **kwargs)
    cfg.experiment_name = f'toy_{os.getpid()}_{os.path.basename(work_dir)}_{id(cfg)}'
    runner = Runner.from_cfg(cfg)
    runner.train()
    return torch.cat([p.detach().flatten() for p in runner.model.parameters()])


def kill_in_second_save():
    """Let the second checkpoint's bytes end in the middle."""
    original = nexusflow.engine.AtomicLocalBackend.put

    def put(self, obj, filepath):
        if str(filepath).endswith('iter_6.pth'):
            KillingBackend().put(obj, f'{filepath}.tmp')
        original(self, obj, filepath)

    nexusflow.engine.AtomicLocalBackend.put = put


if __name__ == '__main__':
    if 'kill' in sys.argv:
        kill_in_second_save()
    train(sys.argv[1])
