# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The baseline and MTPSL: predictions of the unlabelled task against labels of the other one.
_base_ = ['./nexusflow_tiny_baseline.py', '../_base_/regulariser_mtpsl.py']
model = dict(regulariser={{_base_.regulariser}})
