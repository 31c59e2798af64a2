# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""mmengine wrappers around the evaluation functions."""

from .dense_metric import NexusDenseMetric
from .map_metric import NexusMapMetric
from .token_metric import TokenMetric
from .track_metric import NexusTrackMetric

__all__ = ['NexusDenseMetric', 'NexusMapMetric', 'NexusTrackMetric', 'TokenMetric']
