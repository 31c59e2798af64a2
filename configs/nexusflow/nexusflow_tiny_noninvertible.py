# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# A network of as many weights as the flow, which need not be invertible (the ablation of the paper).
_base_ = './nexusflow_tiny.py'
model = dict(regulariser=dict(flow=dict(type='plain')))
