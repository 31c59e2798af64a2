# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Partial supervision: which sample is labelled for which task, and what follows for losses."""

from .masking import graph_zero, label_mask, labelled_count, masked_mean
from .partition import (
    RULES,
    ByLocation,
    FromFile,
    Full,
    Random,
    Rule,
    SampleKey,
    Swapped,
    build_rule,
)
from .view import DenseView, View

__all__ = [
    'RULES',
    'ByLocation',
    'DenseView',
    'FromFile',
    'Full',
    'Random',
    'Rule',
    'SampleKey',
    'Swapped',
    'View',
    'build_rule',
    'graph_zero',
    'label_mask',
    'labelled_count',
    'masked_mean',
]
