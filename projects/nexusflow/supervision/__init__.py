# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Partial supervision: which sample is labelled for which task, and what follows for losses."""

from .image_partitions import FromTable, OneLabel, RandomLabels, SingleTask
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

RULES.update({rule.__name__: rule for rule in (FromTable, OneLabel, RandomLabels, SingleTask)})

__all__ = [
    'RULES',
    'ByLocation',
    'DenseView',
    'FromFile',
    'FromTable',
    'Full',
    'OneLabel',
    'Random',
    'RandomLabels',
    'Rule',
    'SampleKey',
    'SingleTask',
    'Swapped',
    'View',
    'build_rule',
    'graph_zero',
    'label_mask',
    'labelled_count',
    'masked_mean',
]
