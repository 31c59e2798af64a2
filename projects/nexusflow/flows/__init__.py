# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The method in plain PyTorch: aggregators, invertible flows, alignment. No OpenMMLab needed."""

from .aggregators import BEVAggregator, QueryAggregator, VectorAggregator
from .alignment import center_alignment, center_distance
from .coupling import AffineCoupling, CouplingFlow
from .nexus import AGGREGATORS, Feature, NexusFlow, Surrogate, build_nexus_flow

__all__ = [
    'AGGREGATORS',
    'AffineCoupling',
    'BEVAggregator',
    'CouplingFlow',
    'Feature',
    'NexusFlow',
    'QueryAggregator',
    'Surrogate',
    'VectorAggregator',
    'build_nexus_flow',
    'center_alignment',
    'center_distance',
]
