# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The judges: Chamfer AP of vector maps, and the official nuScenes tracking evaluation."""

from .metrics import NexusMapMetric, NexusTrackMetric

__all__ = ['NexusMapMetric', 'NexusTrackMetric']
