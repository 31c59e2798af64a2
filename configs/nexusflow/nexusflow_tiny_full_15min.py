# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The upper bound with a quarter of an hour of training on two cores. Batches of two, since more steps teach more than
# larger ones; without a regulariser no guard needs to compare the rows. Samples come several times: images are scaled,
# cropped and mirrored and the lidar frame is mirrored, or the rare classes are learnt by heart. The image backbone is
# twice as wide, which costs a fifth of a step: where an object is depends on what is seen in few pixels.
_base_ = './nexusflow_tiny_full.py'
max_iters = 1500
model = dict(
    img_backbone=dict(base_channels=32),
    img_neck=dict(in_channels=[32, 64, 128]),
)
train_pipeline = [
    {{_base_.load_images}},
    dict(
        type='NexusImageAug',
        size_hw={{_base_.image_hw}},
        scale_range=(0.95, 1.15),
        crop_left_range=(0.0, 1.0),
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
    dict(type='NexusClipLengthHook', lengths=(1, 2), milestones=(1270,), by_epoch=False)
]
