# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The judges: Chamfer AP of vector maps, the official nuScenes tracking evaluation, dense tasks."""

from .metrics import NexusDenseMetric, NexusMapMetric, NexusTrackMetric

__all__ = ['NexusDenseMetric', 'NexusMapMetric', 'NexusTrackMetric']
