# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# One model for normal alone, on the images that the baseline has this label of.
_base_ = './nyuv2_tiny_baseline.py'
supervision = dict(_delete_=True, type='SingleTask', task='normal', of=dict(type='OneLabel'))
train_dataloader = dict(dataset=dict(supervision=supervision, keep_unlabelled=False))
model = dict(heads=dict(_delete_=True, normal=dict(type='NexusNormalHead', channels=3)))
val_evaluator = dict(tasks=dict(segmentation=None, depth=None))
test_evaluator = val_evaluator
