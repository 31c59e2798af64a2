# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# No flow: the aggregators' vectors are aligned as they are.
_base_ = './nyuv2_tiny_nexusflow.py'
model = dict(regulariser=dict(flow=dict(_delete_=True, type='none')))
