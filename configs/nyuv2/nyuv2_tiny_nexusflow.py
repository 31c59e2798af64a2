# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The baseline and NexusFlow: the tasks' features aligned on every image.
_base_ = ['./nyuv2_tiny_baseline.py', '../_base_/regulariser_nyuv2_nexusflow.py']
model = dict(regulariser={{_base_.regulariser}})
default_hooks = dict(diagnostics=dict(type='NexusDiagnosticsHook', shared=('trunk',)))
