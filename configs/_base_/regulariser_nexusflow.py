# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# NexusFlow (arXiv 2512.06251): a surrogate per task, six coupling layers, alignment to the centre.
regulariser = dict(
    type='NexusFlowRegulariser',
    dim=256,
    weight=0.1,
    flow=dict(num_layers=6),
    tasks=dict(
        map=dict(type='bev', tap='bev'),
        track=dict(type='bev', tap='bev'),
    ),
)
