# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""NexusFlow on any OpenMMLab detector: features tapped by hooks, partial labels by sub-batches."""

from .adapter import NexusFlowAdapter, adapt

__all__ = ['NexusFlowAdapter', 'adapt']
