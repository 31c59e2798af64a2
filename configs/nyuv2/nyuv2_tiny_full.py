# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The upper bound: every image with all labels.
_base_ = './nyuv2_tiny_baseline.py'
train_dataloader = dict(dataset=dict(supervision=dict(_delete_=True, type='Full')))
