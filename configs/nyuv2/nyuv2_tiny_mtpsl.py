# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The baseline and MTPSL; the mapping network is narrow, and its last stage as wide as the shared feature.
_base_ = ['./nyuv2_tiny_baseline.py', '../_base_/regulariser_nyuv2_mtpsl.py']
model = dict(
    regulariser=dict(
        type='MTPSLRegulariser',
        widths=(8, 16, 32, 192),
        tasks={{_base_.regulariser.tasks}},
    )
)
