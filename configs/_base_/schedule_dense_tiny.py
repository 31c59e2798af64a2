# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# One-cycle AdamW for some hundred iterations on a CPU.
max_iters = 500
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-3, weight_decay=0.01),
)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=6e-3, total_steps=max_iters, pct_start=0.1, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=10 * max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
