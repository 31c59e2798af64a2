# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The baseline and JTR. Published: 400 epochs, halved after 200, and changes of colour; here all methods get the same.
_base_ = ['./nyuv2_segnet_baseline_200e.py', '../_base_/regulariser_nyuv2_jtr.py']
model = dict(regulariser={{_base_.regulariser}})
