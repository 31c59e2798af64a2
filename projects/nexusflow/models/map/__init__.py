# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Vector maps: head, targets, losses."""

from .map_head import NexusMapHead

__all__ = ['NexusMapHead']
