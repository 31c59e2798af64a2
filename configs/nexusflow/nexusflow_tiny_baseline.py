# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# Partial labels, nothing added: map labels from Boston only, track labels from Singapore only.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/dataset_clips.py',
    '../_base_/model_tiny.py',
    '../_base_/schedule_tiny.py',
]
train_dataloader = dict(
    dataset=dict(supervision=dict(type='ByLocation', map=['boston-*'], track=['singapore-*']))
)
