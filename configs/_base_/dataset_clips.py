# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# nuScenes-format clips. Who is labelled for what is the key supervision of the training set.
data_root = '{{$NEXUSFLOW_DATA_ROOT:data/world}}'
version = 'v1.0-world'
train_split, val_split = 'world_train', 'world_val'
city_eval_sets = dict(boston='world_val_boston', singapore='world_val_singapore')
image_hw = (160, 480)

load_images = dict(type='NexusLoadMultiViewImages')
train_pipeline = [
    load_images,
    dict(
        type='NexusImageAug',
        size_hw=image_hw,
        colour=dict(brightness=16, contrast=0.2, saturation=0.2, hue_deg=5),
    ),
    dict(type='NexusPackClip'),
]
test_pipeline = [
    load_images,
    dict(type='NexusImageAug', size_hw=image_hw, deterministic=True),
    dict(type='NexusPackClip'),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='NexusClipDataset',
        data_root=data_root,
        ann_file=f'nexusflow_infos_{train_split}.pkl',
        clip_length=2,
        supervision=dict(type='Full'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='NexusSceneSampler'),
    dataset=dict(
        type='NexusClipDataset',
        data_root=data_root,
        ann_file=f'nexusflow_infos_{val_split}.pkl',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
map_metric = dict(type='NexusMapMetric', ann_file=f'{data_root}/nexusflow_infos_{val_split}.pkl')
track_metric = dict(
    type='NexusTrackMetric',
    data_root=data_root,
    version=version,
    eval_set=val_split,
    city_eval_sets=city_eval_sets,
)
val_evaluator = [map_metric, track_metric]
# the end is judged by the official code, and beside a greedy tracker on the same detections
test_evaluator = [map_metric, dict(track_metric, official=True, greedy=True)]
