# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# All pairs of tasks instead of the centre: the same function, so a check of the comparison.
_base_ = './nexusflow_tiny.py'
model = dict(regulariser=dict(objective=dict(type='pairwise')))
