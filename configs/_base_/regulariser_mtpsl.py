# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# MTPSL (CVPR 2022): cross-task consistency with its published weight; the mapping network as narrow as the tiny model,
# its last stage as wide as the shared BEV. Published widths: 64, 128, 256, 512, 512.
regulariser = dict(
    type='MTPSLRegulariser',
    widths=(16, 32, 48),
    tasks=dict(
        map=dict(kind='masks', channels=3),
        track=dict(kind='masks', channels=7),
    ),
)
