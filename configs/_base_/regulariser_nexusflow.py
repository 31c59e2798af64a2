# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# NexusFlow (arXiv 2512.06251): a surrogate per task, six coupling layers, alignment to the centre. The guard is ours:
# without it the aggregators collapse within some tens of iterations. It is on z: a flow can shrink h' to a fifth.
regulariser = dict(
    type='NexusFlowRegulariser',
    dim=256,
    weight=1.0,
    flow=dict(num_layers=6),
    guard=dict(weight=1.0, on='z'),
    tasks=dict(
        map=dict(type='bev', tap='bev'),
        track=dict(type='bev', tap='bev'),
    ),
)
