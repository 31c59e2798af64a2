# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# NexusFlow on the features of three dense heads.
_base_ = './regulariser_nexusflow.py'
regulariser = dict(
    tasks=dict(
        _delete_=True,
        segmentation=dict(type='bev', tap='feature'),
        depth=dict(type='bev', tap='feature'),
        normal=dict(type='bev', tap='feature'),
    ),
)
