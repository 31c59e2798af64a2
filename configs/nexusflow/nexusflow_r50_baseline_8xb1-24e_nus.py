# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# nuScenes, ResNet-50: map labels from Boston only, track labels from Singapore only, nothing added.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/dataset_clips.py',
    '../_base_/model_r50.py',
    '../_base_/schedule_24e.py',
]
data_root = '{{$NEXUSFLOW_DATA_ROOT:data/nuscenes}}'
version = '{{$NEXUSFLOW_VERSION:v1.0-trainval}}'
train_split, val_split = {
    'v1.0-mini': ('mini_train', 'mini_val'),
    # to write a submission; there is nothing to train on
    'v1.0-test': ('test', 'test'),
}.get(version, ('train', 'val'))
train_info = f'nexusflow_infos_{train_split}.pkl'
val_info = f'nexusflow_infos_{val_split}.pkl'
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
        data_root=data_root,
        ann_file=train_info,
        clip_length=5,
        supervision=dict(type='ByLocation', map=['boston-*'], track=['singapore-*']),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=4, dataset=dict(data_root=data_root, ann_file=val_info, pipeline=test_pipeline)
)
test_dataloader = val_dataloader
# Queenstown and Holland Village are in Singapore too; cities of the official val split by splits.json
map_metric = dict(type='NexusMapMetric', ann_file=f'{data_root}/{val_info}')
track_metric = dict(
    type='NexusTrackMetric', data_root=data_root, version=version, eval_set=val_split
)
val_evaluator = [map_metric, track_metric]
test_evaluator = [map_metric, dict(track_metric, official=True, greedy=True)]
# clips of three frames, then four, then all five
custom_hooks = [dict(type='NexusClipLengthHook', lengths=(3, 4, 5), milestones=(8, 16))]
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))
# a GPU holds one clip, whose frames look alike: batch statistics are those of all GPUs (one GPU: no change)
sync_bn = 'torch'
# seconds: while one process runs the devkit's evaluation the others wait for it, and NCCL gives up after 600 by default
env_cfg = dict(dist_cfg=dict(timeout=7200))
log_processor = dict(by_epoch=True)
