# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The baseline and JTR: the tasks' maps together, with and without the labels.
_base_ = ['./nexusflow_tiny_baseline.py', '../_base_/regulariser_jtr.py']
model = dict(regulariser={{_base_.regulariser}})
