# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Hooks for mmengine's training loops."""

from .checkpoint_hook import AtomicLocalBackend, NexusCheckpointHook
from .seed_hook import NexusSeedHook

__all__ = ['AtomicLocalBackend', 'NexusCheckpointHook', 'NexusSeedHook']
