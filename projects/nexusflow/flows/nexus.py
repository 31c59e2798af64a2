# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""NexusFlow: an invertible surrogate per task, aligned on every sample, labelled or not.

arXiv 2512.06251: h'_i = g_i(h_i), z_i = c_i(h'_i), L_align = sum_i ||z_i - mean_j z_j||^2. Only
training needs it; a model without it predicts the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .aggregators import BEVAggregator, QueryAggregator, VectorAggregator
from .alignment import center_alignment, center_distance
from .coupling import CouplingFlow

__all__ = ['AGGREGATORS', 'Feature', 'NexusFlow', 'Surrogate', 'build_nexus_flow']

Feature = Tensor | Mapping[str, Tensor]
"""A task's feature: a tensor, or the keyword arguments of its aggregator."""

AGGREGATORS: dict[str, Callable[..., nn.Module]] = {
    'bev': BEVAggregator,
    'queries': QueryAggregator,
    'vector': VectorAggregator,
}

ROUND_TRIP_ROWS = 8


class Surrogate(nn.Module):
    """A task's aggregator and flow: its feature h -> h' (B, D) -> z (B, D).

    Args:
        aggregator: Module from the feature to a vector (B, D).
        flow: Invertible module on vectors of length D.
    """

    def __init__(self, aggregator: nn.Module, flow: CouplingFlow) -> None:
        super().__init__()
        self.aggregator = aggregator
        self.flow = flow

    def forward(self, feature: Feature) -> tuple[Tensor, Tensor]:
        """The embedding h' (B, D) before the flow and z (B, D) after it."""
        if isinstance(feature, Mapping):
            embedding = self.aggregator(**feature)
        else:
            embedding = self.aggregator(feature)
        return embedding, self.flow(embedding)

    @torch.no_grad()
    def round_trip_error(self, embedding: Tensor, z: Tensor) -> Tensor:
        """Largest |c^-1(z) - h'| over the first rows: what float arithmetic loses."""
        rows = slice(ROUND_TRIP_ROWS)
        return (self.flow.inverse(z[rows]) - embedding[rows]).abs().max()


class NexusFlow(nn.Module):
    """The cross-task regulariser.

    Args:
        surrogates: One per task, all with the same length D of z.
        weight: lambda, the factor of the alignment in the total loss.

    Raises:
        ValueError: If there are fewer than two tasks, or their embeddings differ in length.
    """

    def __init__(self, surrogates: Mapping[str, Surrogate], weight: float = 1.0) -> None:
        super().__init__()
        if len(surrogates) < 2:
            raise ValueError(
                f"'surrogates': at least two tasks can be aligned, got {list(surrogates)}"
            )
        dims = {task: surrogate.flow.dim for task, surrogate in surrogates.items()}
        if len(set(dims.values())) > 1:
            raise ValueError(f"'surrogates': the embeddings must be of one length, got {dims}")
        self.surrogates = nn.ModuleDict(surrogates)
        self.weight = weight

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return tuple(self.surrogates)

    def forward(self, features: Mapping[str, Feature], samples: object = None) -> dict[str, Tensor]:
        """Align the tasks on every sample.

        Args:
            features: The feature of each task, for the same B samples.
            samples: The data samples; not needed, since labels play no part in the alignment.

        Returns:
            ``loss_align`` (with its weight) and detached diagnostics: ``align_distance``, mean
            distance of a task to the centre; ``round_trip_error``, largest error of the flows'
            inverses; ``z_std_<task>``, spread of z over the batch (left out for a batch of one),
            which falls towards 0 when a surrogate collapses.

        Raises:
            KeyError: If a task has no feature.
        """
        missing = [task for task in self.tasks if task not in features]
        if missing:
            raise KeyError(
                f'no feature for task(s) {missing}; features were given for {sorted(features)}'
            )
        outputs = {task: self.surrogates[task](features[task]) for task in self.tasks}
        z = torch.stack([output[1] for output in outputs.values()])
        return {
            'loss_align': self.weight * center_alignment(z),
            **self._diagnostics(outputs, z.detach()),
        }

    @torch.no_grad()
    def _diagnostics(
        self, outputs: Mapping[str, tuple[Tensor, Tensor]], z: Tensor
    ) -> dict[str, Tensor]:
        """Scalars that are logged; (N, B, D) z is in the order of the tasks."""
        errors = []
        for task, output in outputs.items():
            surrogate = self.surrogates[task]
            assert isinstance(surrogate, Surrogate)
            errors.append(surrogate.round_trip_error(*output))
        scalars = {
            'align_distance': center_distance(z),
            'round_trip_error': torch.stack(errors).max(),
        }
        if z.shape[1] > 1:
            for task, z_task in zip(outputs, z, strict=True):
                scalars[f'z_std_{task}'] = z_task.std(dim=0).mean()
        return scalars


def build_nexus_flow(
    tasks: Mapping[str, Mapping[str, Any]],
    dim: int = 256,
    flow: Mapping[str, Any] | None = None,
    weight: float = 1.0,
) -> NexusFlow:
    """NexusFlow from plain dictionaries, as they stand in a configuration.

    Args:
        tasks: For each task its aggregator: ``type``, a key of ``AGGREGATORS``, and its arguments.
        dim: Length D of the embeddings.
        flow: Arguments of :class:`CouplingFlow` other than ``dim``.
        weight: lambda.

    Raises:
        ValueError: If an aggregator's type is missing or unknown.

    Example:
        >>> nexus = build_nexus_flow({
        ...     'map': dict(type='bev', in_channels=16),
        ...     'track': dict(type='queries', in_channels=8),
        ... }, dim=32)
        >>> out = nexus({'map': torch.rand(2, 16, 20, 10), 'track': torch.rand(2, 5, 8)})
        >>> sorted(out)
        ['align_distance', 'loss_align', 'round_trip_error', 'z_std_map', 'z_std_track']
    """
    surrogates = {}
    for task, aggregator in tasks.items():
        args = dict(aggregator)
        kind = args.pop('type', None)
        if kind not in AGGREGATORS:
            raise ValueError(
                f"task '{task}': unknown aggregator {kind!r}; choose from {sorted(AGGREGATORS)}"
            )
        surrogates[task] = Surrogate(
            AGGREGATORS[kind](dim=dim, **args), CouplingFlow(dim, **(flow or {}))
        )
    return NexusFlow(surrogates, weight=weight)
