# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Hooks for mmengine's training loops."""

from .checkpoint_hook import AtomicLocalBackend, NexusCheckpointHook
from .clip_length_hook import NexusClipLengthHook
from .diagnostics_hook import NexusDiagnosticsHook
from .map_range_hook import NexusMapRangeHook
from .run_record_hook import NexusRunRecordHook
from .seed_hook import NexusSeedHook
from .task_turns_hook import NexusTaskTurnsHook
from .two_stage_hook import NexusTwoStageHook

__all__ = [
    'AtomicLocalBackend',
    'NexusCheckpointHook',
    'NexusClipLengthHook',
    'NexusDiagnosticsHook',
    'NexusMapRangeHook',
    'NexusRunRecordHook',
    'NexusSeedHook',
    'NexusTaskTurnsHook',
    'NexusTwoStageHook',
]
