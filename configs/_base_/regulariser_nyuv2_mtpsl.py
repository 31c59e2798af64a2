# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# MTPSL (CVPR 2022): cross-task consistency in a space for each pair of tasks; published widths and weights.
regulariser = dict(
    type='MTPSLRegulariser',
    tasks=dict(
        segmentation=dict(kind='classes', channels=13),
        depth=dict(kind='depth', channels=1),
        normal=dict(kind='normals', channels=3),
    ),
)
