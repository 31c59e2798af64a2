# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The tiny model on nuScenes itself, all labels: a few hundred iterations on a CPU, to see that all of it runs.
# NEXUSFLOW_VERSION=v1.0-mini takes the mini version.
_base_ = './nexusflow_tiny_full.py'
data_root = '{{$NEXUSFLOW_DATA_ROOT:data/nuscenes}}'
version = '{{$NEXUSFLOW_VERSION:v1.0-trainval}}'
train_split, val_split = ('mini_train', 'mini_val') if version == 'v1.0-mini' else ('train', 'val')
# 1600x900 pictures, read at a quarter of their size
load_images = dict(type='NexusLoadMultiViewImages', reduce=4)
train_pipeline = [
    load_images,
    dict(
        type='NexusImageAug',
        size_hw={{_base_.image_hw}},
        colour=dict(brightness=16, contrast=0.2, saturation=0.2, hue_deg=5),
    ),
    dict(type='NexusPackClip'),
]
test_pipeline = [
    load_images,
    dict(type='NexusImageAug', size_hw={{_base_.image_hw}}, deterministic=True),
    dict(type='NexusPackClip'),
]
train_info = f'nexusflow_infos_{train_split}.pkl'
val_info = f'nexusflow_infos_{val_split}.pkl'
train_dataloader = dict(
    dataset=dict(data_root=data_root, ann_file=train_info, pipeline=train_pipeline)
)
val_dataloader = dict(dataset=dict(data_root=data_root, ann_file=val_info, pipeline=test_pipeline))
test_dataloader = val_dataloader
map_metric = dict(type='NexusMapMetric', ann_file=f'{data_root}/{val_info}')
track_metric = dict(
    type='NexusTrackMetric', data_root=data_root, version=version, eval_set=val_split
)
val_evaluator = [map_metric, track_metric]
test_evaluator = [map_metric, dict(track_metric, official=True, greedy=True)]
