# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The baseline and NexusFlow: the tasks' features aligned on every sample.
_base_ = ['./nexusflow_tiny_baseline.py', '../_base_/regulariser_nexusflow.py']
model = dict(regulariser={{_base_.regulariser}})
default_hooks = dict(diagnostics=dict(type='NexusDiagnosticsHook'))
