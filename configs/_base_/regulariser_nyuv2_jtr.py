# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# JTR (CVPR 2024): all tasks' maps in one latent space; published widths and weights.
regulariser = dict(
    type='JTRRegulariser',
    tasks=dict(
        segmentation=dict(kind='classes', channels=13),
        depth=dict(kind='depth', channels=1),
        normal=dict(kind='normals', channels=3),
    ),
)
