# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The ResNet-50 baseline and NexusFlow.
_base_ = ['./nexusflow_r50_baseline_8xb1-24e_nus.py', '../_base_/regulariser_nexusflow.py']
model = dict(regulariser={{_base_.regulariser}})
default_hooks = dict(diagnostics=dict(type='NexusDiagnosticsHook'))
