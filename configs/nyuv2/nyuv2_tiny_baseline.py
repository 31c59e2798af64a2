# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# Rendered rooms of 96x128 on a CPU (tools/make_world.py --kind indoor), one label per image, nothing added. Mirrored at
# random but not scale-cropped: in so few iterations the crops cost more accuracy than they give.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/dataset_nyuv2.py',
    '../_base_/model_dense_tiny.py',
    '../_base_/schedule_dense_tiny.py',
]
data_root = '{{$NEXUSFLOW_INDOOR_ROOT:data/rooms}}'
image_hw = (96, 128)
train_pipeline = [
    dict(type='NexusDenseResize', size_hw=image_hw),
    dict(type='NexusDenseFlip'),
    dict(type='NexusPackDense'),
]
test_pipeline = [dict(type='NexusDenseResize', size_hw=image_hw), dict(type='NexusPackDense')]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    sampler=dict(type='InfiniteSampler'),
    dataset=dict(
        data_root=data_root,
        supervision=dict(_delete_=True, type='OneLabel'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8, num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline)
)
test_dataloader = val_dataloader
