# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The distributions of the tasks' vectors are aligned, by maximum mean discrepancy.
_base_ = './nexusflow_tiny.py'
model = dict(regulariser=dict(objective=dict(type='mmd')))
