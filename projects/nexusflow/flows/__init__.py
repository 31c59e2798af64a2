# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The method in plain PyTorch: aggregators, invertible flows, alignment. No OpenMMLab needed."""

from .aggregators import (
    AGGREGATORS,
    BEVAggregator,
    QueryAggregator,
    VectorAggregator,
    build_aggregator,
)
from .alignment import center_alignment, center_distance, pairwise_alignment
from .collapse import CollapseTest
from .composite import Feature, LevelsAggregator, MixtureAggregator, aggregate
from .coupling import AffineCoupling, CouplingFlow
from .guard import CollapseGuard
from .lipschitz import certified_lipschitz, jacobian_lipschitz, lemma1_sides, pair_lipschitz
from .nexus import NexusFlow, Surrogate, build_nexus_flow
from .objectives import OBJECTIVES, Objective, build_objective
from .transforms import TRANSFORMS, build_transform

__all__ = [
    'AGGREGATORS',
    'OBJECTIVES',
    'TRANSFORMS',
    'AffineCoupling',
    'BEVAggregator',
    'CollapseGuard',
    'CollapseTest',
    'CouplingFlow',
    'Feature',
    'LevelsAggregator',
    'MixtureAggregator',
    'NexusFlow',
    'Objective',
    'QueryAggregator',
    'Surrogate',
    'VectorAggregator',
    'aggregate',
    'build_aggregator',
    'build_nexus_flow',
    'build_objective',
    'build_transform',
    'center_alignment',
    'center_distance',
    'certified_lipschitz',
    'jacobian_lipschitz',
    'lemma1_sides',
    'pair_lipschitz',
    'pairwise_alignment',
]
