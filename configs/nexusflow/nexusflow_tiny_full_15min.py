# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The upper bound with a quarter of an hour of training on two cores.
_base_ = './nexusflow_tiny_full.py'
max_iters = 700
train_cfg = dict(max_iters=max_iters, val_interval=10 * max_iters)
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max={{_base_.lr}},
        total_steps=max_iters,
        pct_start=0.1,
        by_epoch=False,
    ),
]
custom_hooks = [dict(type='NexusClipLengthHook', lengths=(1, 2), milestones=(540,), by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=max_iters))
