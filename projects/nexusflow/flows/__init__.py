# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The method in plain PyTorch: aggregators, invertible flows, alignment. No OpenMMLab needed."""

from .aggregators import (
    AGGREGATORS,
    BEVAggregator,
    QueryAggregator,
    VectorAggregator,
    build_aggregator,
)
from .alignment import (
    center_alignment,
    center_distance,
    pairwise_alignment,
    relative_distance,
)
from .collapse import CollapseTest
from .composite import Feature, LevelsAggregator, MixtureAggregator, aggregate
from .coupling import AffineCoupling, CouplingFlow
from .diagnostics import alignment_scalars, effective_rank, linear_cka
from .guard import CollapseGuard
from .lipschitz import certified_lipschitz, jacobian_lipschitz, lemma1_sides, pair_lipschitz
from .nexus import NexusFlow, Surrogate, build_nexus_flow
from .objectives import (
    OBJECTIVES,
    CenterObjective,
    MMDObjective,
    Objective,
    PairwiseObjective,
    SinkhornObjective,
    build_objective,
)
from .transforms import TRANSFORMS, build_transform

__all__ = [
    'AGGREGATORS',
    'OBJECTIVES',
    'TRANSFORMS',
    'AffineCoupling',
    'BEVAggregator',
    'CenterObjective',
    'CollapseGuard',
    'CollapseTest',
    'CouplingFlow',
    'Feature',
    'LevelsAggregator',
    'MMDObjective',
    'MixtureAggregator',
    'NexusFlow',
    'Objective',
    'PairwiseObjective',
    'QueryAggregator',
    'SinkhornObjective',
    'Surrogate',
    'VectorAggregator',
    'aggregate',
    'alignment_scalars',
    'build_aggregator',
    'build_nexus_flow',
    'build_objective',
    'build_transform',
    'center_alignment',
    'center_distance',
    'certified_lipschitz',
    'effective_rank',
    'jacobian_lipschitz',
    'lemma1_sides',
    'linear_cka',
    'pair_lipschitz',
    'pairwise_alignment',
    'relative_distance',
]
