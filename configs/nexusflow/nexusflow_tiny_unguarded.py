# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# NexusFlow as published, without the guard against collapse.
_base_ = './nexusflow_tiny.py'
model = dict(regulariser=dict(guard=None))
