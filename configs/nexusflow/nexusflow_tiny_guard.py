# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# NexusFlow with a guard against collapse: the spread of the aggregators' vectors is kept.
_base_ = './nexusflow_tiny.py'
model = dict(regulariser=dict(guard=dict(weight=0.1)))
