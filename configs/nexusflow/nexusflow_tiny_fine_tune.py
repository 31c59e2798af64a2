# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The two stages without any alignment: what freezing the image encoder does by itself.
_base_ = './nexusflow_tiny_baseline.py'
frozen = ('img_backbone', 'img_neck', 'lift')
hook = dict(type='NexusTwoStageHook', begin=200, freeze=frozen, align=False)
default_hooks = dict(two_stage=hook)
