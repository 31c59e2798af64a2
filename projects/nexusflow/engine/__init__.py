# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What stands between mmengine's runner and the package; its import makes checkpoints readable."""

from . import compat
from .hooks import (
    AtomicLocalBackend,
    NexusCheckpointHook,
    NexusClipLengthHook,
    NexusDiagnosticsHook,
    NexusMapRangeHook,
    NexusRunRecordHook,
    NexusSeedHook,
    NexusTaskTurnsHook,
    NexusTwoStageHook,
)
from .muon import NexusMuon

__all__ = [
    'AtomicLocalBackend',
    'NexusCheckpointHook',
    'NexusClipLengthHook',
    'NexusDiagnosticsHook',
    'NexusMapRangeHook',
    'NexusMuon',
    'NexusRunRecordHook',
    'NexusSeedHook',
    'NexusTaskTurnsHook',
    'NexusTwoStageHook',
    'compat',
]
