# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Hooks for mmengine's training loops."""

from .checkpoint_hook import AtomicLocalBackend, NexusCheckpointHook
from .clip_length_hook import NexusClipLengthHook
from .seed_hook import NexusSeedHook

__all__ = ['AtomicLocalBackend', 'NexusCheckpointHook', 'NexusClipLengthHook', 'NexusSeedHook']
