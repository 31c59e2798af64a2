# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# NexusFlow (arXiv 2512.06251) on the features of three dense heads.
regulariser = dict(
    type='NexusFlowRegulariser',
    dim=256,
    weight=1.0,
    flow=dict(num_layers=6),
    guard=dict(weight=1.0),
    tasks=dict(
        segmentation=dict(type='bev', tap='feature'),
        depth=dict(type='bev', tap='feature'),
        normal=dict(type='bev', tap='feature'),
    ),
)
