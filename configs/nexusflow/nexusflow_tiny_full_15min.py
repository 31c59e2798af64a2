# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The upper bound with a quarter of an hour of training on two cores. Batches of two, since more steps teach more than
# larger ones; without a regulariser no guard needs to compare the rows. Samples come several times: images and the
# lidar frame are mirrored, or the rare classes are learnt by heart. Images are not scaled: how large something looks
# tells how far away it is. Clips come last and are few: a frame alone teaches as much at half the price. The map, which
# learns faster than the tracks and takes 0.3 of a step, has every fourth one.
_base_ = './nexusflow_tiny_full.py'
max_iters = 1380
model = dict(skip_unlabelled=True)
# several processes need it: a head that is skipped has no gradients
find_unused_parameters = True
train_pipeline = [
    {{_base_.load_images}},
    dict(
        type='NexusImageAug',
        size_hw={{_base_.image_hw}},
        flip_prob=0.5,
        colour=dict(brightness=16, contrast=0.2, saturation=0.2, hue_deg=5),
    ),
    dict(type='NexusBevAug', flip_x_prob=0.5),
    dict(type='NexusPackClip'),
]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))
# five times the steps: less decay in each
optim_wrapper = dict(optimizer=dict(weight_decay=0.1))
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
custom_hooks = [
    dict(type='NexusClipLengthHook', lengths=(1, 2), milestones=(max_iters - 30,), by_epoch=False),
    dict(type='NexusTaskTurnsHook', every=dict(map=4)),
]
