# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The baseline and MTPSL. Published batch size: 2. Its modulation (FiLM) learns ten times faster, as published; the
# published schedule halves that rate every 30 epochs, here it follows the others.
_base_ = ['./nyuv2_segnet_baseline_200e.py', '../_base_/regulariser_nyuv2_mtpsl.py']
model = dict(regulariser={{_base_.regulariser}})
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'regulariser.film': dict(lr_mult=10.0)}))
