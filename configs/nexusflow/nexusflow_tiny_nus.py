# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The tiny model on nuScenes itself, all labels: a few hundred iterations on a CPU, to see that all of it runs.
# NEXUSFLOW_VERSION=v1.0-mini takes the mini version.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/dataset_nus.py',
    '../_base_/model_tiny.py',
    '../_base_/schedule_tiny.py',
]
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
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
