# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# NexusFlow whose centre is that of slowly following copies of the surrogates.
_base_ = './nexusflow_tiny.py'
model = dict(regulariser=dict(objective=dict(type='center', momentum=0.95)))
