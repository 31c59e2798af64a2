# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The baseline and NexusFlow: the tasks' features aligned on every sample. The surrogates' matrices are many and large:
# to orthogonalise them would cost 4 % of a step.
_base_ = ['./nexusflow_tiny_baseline.py', '../_base_/regulariser_nexusflow.py']
model = dict(regulariser={{_base_.regulariser}})
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(regulariser=dict(use_muon=False))))
default_hooks = dict(diagnostics=dict(type='NexusDiagnosticsHook'))
