# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# JTR (CVPR 2024): joint-task regularisation with its published weights; the autoencoder as narrow as the tiny model.
# Published widths: 64, 128, 256, 512, 512.
regulariser = dict(
    type='JTRRegulariser',
    widths=(16, 32, 48),
    tasks=dict(
        map=dict(kind='masks', channels=3),
        track=dict(kind='masks', channels=7),
    ),
)
