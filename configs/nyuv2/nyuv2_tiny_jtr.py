# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The baseline and JTR; its network is narrow.
_base_ = ['./nyuv2_tiny_baseline.py', '../_base_/regulariser_nyuv2_jtr.py']
model = dict(
    regulariser=dict(
        type='JTRRegulariser', widths=(8, 16, 32, 64), tasks={{_base_.regulariser.tasks}}
    )
)
