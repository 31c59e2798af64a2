# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The baseline and NexusFlow: the tasks' features aligned on every sample.
_base_ = ['./nexusflow_tiny_baseline.py', '../_base_/regulariser_nexusflow.py']
model = dict(regulariser={{_base_.regulariser}})
# a tenth of the detector's learning rate, at which a regulariser's small networks die
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(regulariser=dict(lr_scale=0.1))))
default_hooks = dict(diagnostics=dict(type='NexusDiagnosticsHook'))
