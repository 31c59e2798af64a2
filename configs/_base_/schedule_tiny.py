# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# One-cycle Muon for a few hundred iterations on a CPU: single frames first, since the frames of a clip resemble each
# other and teach less, then clips of two for the tracks.
max_iters = 300
clip_iters = 80
lr = 1.2e-2
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='NexusMuon', lr=lr, weight_decay=0.3),
    clip_grad=dict(max_norm=35.0, norm_type=2),
    # a regulariser's matrices are large and thrown away after training, and to orthogonalise NexusFlow's took 4 % of a
    # step; at the detector's learning rate its small networks die
    paramwise_cfg=dict(custom_keys=dict(regulariser=dict(use_muon=False, lr_scale=0.1))),
)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=lr, total_steps=max_iters, pct_start=0.1, by_epoch=False),
]
custom_hooks = [
    dict(
        type='NexusClipLengthHook',
        lengths=(1, 2),
        milestones=(max_iters - clip_iters,),
        by_epoch=False,
    )
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=10 * max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
