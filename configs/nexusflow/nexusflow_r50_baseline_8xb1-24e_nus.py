# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# nuScenes, ResNet-50: map labels from Boston only, track labels from Singapore only, nothing added.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/dataset_nus.py',
    '../_base_/model_r50.py',
    '../_base_/schedule_24e.py',
]
image_hw = (256, 704)
load_images = dict(type='NexusLoadMultiViewImages', reduce=2)
train_pipeline = [
    load_images,
    dict(
        type='NexusImageAug',
        size_hw=image_hw,
        scale_range=(0.95, 1.25),
        crop_left_range=(0.0, 1.0),
        colour=dict(brightness=32, contrast=0.5, saturation=0.5, hue_deg=18),
    ),
    dict(type='NexusPackClip'),
]
test_pipeline = [
    load_images,
    dict(type='NexusImageAug', size_hw=image_hw, deterministic=True),
    dict(type='NexusPackClip'),
]
train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    dataset=dict(
        clip_length=5,
        supervision=dict(type='ByLocation', map=['boston-*'], track=['singapore-*']),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(num_workers=4, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
# clips of three frames, then four, then all five
custom_hooks = [dict(type='NexusClipLengthHook', lengths=(3, 4, 5), milestones=(8, 16))]
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))
# a GPU holds one clip, whose frames look alike: batch statistics are those of all GPUs (one GPU: no change)
sync_bn = 'torch'
# seconds: while one process runs the devkit's evaluation the others wait for it, and NCCL gives up after 600 by default
env_cfg = dict(dist_cfg=dict(timeout=7200))
log_processor = dict(by_epoch=True)
