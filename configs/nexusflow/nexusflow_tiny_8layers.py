# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# NexusFlow with 8 coupling layers instead of 6.
_base_ = './nexusflow_tiny.py'
model = dict(regulariser=dict(flow=dict(num_layers=8)))
