# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# NexusFlow in two stages: aligned in the last 100 iterations only, the image encoder frozen then (not the near level,
# which reads pixels of its own).
_base_ = './nexusflow_tiny.py'
frozen = ('img_backbone', 'img_neck', 'lift')
default_hooks = dict(two_stage=dict(type='NexusTwoStageHook', begin=200, freeze=frozen))
