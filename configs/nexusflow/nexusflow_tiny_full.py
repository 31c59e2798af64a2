# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The upper bound: all labels in both cities.
_base_ = './nexusflow_tiny_baseline.py'
train_dataloader = dict(dataset=dict(supervision=dict(_delete_=True, type='Full')))
