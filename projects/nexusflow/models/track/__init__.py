# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Tracking: queries, assignment, losses, streaming life cycle."""

from .lifecycle import TrackLifecycle
from .track_head import NexusTrackHead

__all__ = ['NexusTrackHead', 'TrackLifecycle']
