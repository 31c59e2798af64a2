# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# NexusFlow that trusts a task's vector less where the sample has no label of the task.
_base_ = './nexusflow_tiny.py'
model = dict(regulariser=dict(objective=dict(type='center', unlabelled=0.2)))
