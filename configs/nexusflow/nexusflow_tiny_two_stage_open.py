# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# NexusFlow in two stages: aligned in the last 100 iterations only, all weights trained. Its fine-tuning without
# alignment is the baseline itself.
_base_ = './nexusflow_tiny.py'
default_hooks = dict(two_stage=dict(type='NexusTwoStageHook', begin=200))
