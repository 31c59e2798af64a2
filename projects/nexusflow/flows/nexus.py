# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""NexusFlow: an invertible surrogate per task, aligned on every sample, labelled or not.

arXiv 2512.06251: h'_i = g_i(h_i), z_i = c_i(h'_i), L_align = sum_i ||z_i - mean_j z_j||^2. Only
training needs it; a model without it predicts the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..supervision.masking import label_mask
from .aggregators import build_aggregator
from .alignment import center_distance, relative_distance
from .composite import Feature, aggregate, named_modules
from .guard import CollapseGuard
from .momentum import MomentumCopy
from .objectives import CenterObjective, Objective, build_objective
from .transforms import build_transform

__all__ = ['NexusFlow', 'Surrogate', 'build_nexus_flow']

ROUND_TRIP_ROWS = 8


class Surrogate(nn.Module):
    """A task's aggregator and flow: its feature h -> h' (B, D) -> z (B, D).

    Args:
        aggregator: Module from the feature to a vector (B, D).
        flow: Module on vectors of length D, its attribute ``dim``; invertible, but for ablations.
    """

    def __init__(self, aggregator: nn.Module, flow: nn.Module) -> None:
        super().__init__()
        self.aggregator = aggregator
        self.flow = flow

    def forward(self, feature: Feature) -> tuple[Tensor, Tensor]:
        """The embedding h' (B, D) before the flow and z (B, D) after it."""
        embedding = aggregate(self.aggregator, feature)
        return embedding, self.flow(embedding)

    @torch.no_grad()
    def round_trip_error(self, embedding: Tensor, z: Tensor) -> Tensor | None:
        """Largest |c^-1(z) - h'| over the first rows, what float arithmetic loses; None without an inverse."""
        inverse: Callable[[Tensor], Tensor] | None = getattr(self.flow, 'inverse', None)
        if inverse is None:
            return None
        rows = slice(ROUND_TRIP_ROWS)
        return (inverse(z[rows]) - embedding[rows]).abs().max()


class NexusFlow(nn.Module):
    """The cross-task regulariser.

    Args:
        surrogates: One per task, all with the same length D of z.
        weight: lambda, the factor of the alignment in the total loss.
        objective: What alignment means; the paper's centre by default.
        guard: Guard against collapse of the aggregators; none by default.

    Raises:
        ValueError: If there are fewer than two tasks, their embeddings differ in length, a name cannot be a module's,
            or the weight is negative.
    """

    def __init__(
        self,
        surrogates: Mapping[str, Surrogate],
        weight: float = 1.0,
        objective: Objective | None = None,
        guard: CollapseGuard | None = None,
    ) -> None:
        super().__init__()
        if weight < 0:
            raise ValueError(f"'weight' must not be negative, got {weight}")
        if len(surrogates) < 2:
            raise ValueError(
                f"'surrogates': at least two tasks can be aligned, got {list(surrogates)}"
            )
        dims = {task: surrogate.flow.dim for task, surrogate in surrogates.items()}
        if len(set(dims.values())) > 1:
            raise ValueError(f"'surrogates': the embeddings must be of one length, got {dims}")
        self.surrogates = named_modules(surrogates, 'surrogates')
        self.weight = weight
        self.objective = objective or CenterObjective()
        self.guard = guard
        momentum = self.objective.momentum
        self.followers = None if momentum is None else MomentumCopy(self.surrogates, momentum)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return tuple(self.surrogates)

    def forward(
        self,
        features: Mapping[str, Feature],
        samples: Sequence[Any] | None = None,
        confidence: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Align the tasks on every sample.

        Args:
            features: The feature of each task, for the same B samples.
            samples: The B data samples; only an objective with ``unlabelled`` reads their ``tasks``.
            confidence: For each task (B,), how far its embedding is trusted, instead of that.

        Returns:
            ``loss_align`` and, with a guard, ``loss_guard`` (with their weights), and detached
            diagnostics: ``align_distance``, mean distance of a task to the centre;
            ``round_trip_error``, largest error of the flows' inverses; and, but for a batch of one,
            ``align_relative``, see :func:`nexusflow.flows.alignment.relative_distance`, and ``z_std_<task>``,
            spread of z over the batch, which falls towards 0 when a surrogate collapses.

        Raises:
            KeyError: If a task has no feature.
            ValueError: If a feature is not of the shape that its aggregator reads, or the tasks' features are of
                different numbers of samples; if the objective needs to know what is labelled, and no samples are
                given; if confidences are given that it does not use, or are not (B,) for each task, or negative.
        """
        missing = [task for task in self.tasks if task not in features]
        if missing:
            raise KeyError(
                f'no feature for task(s) {missing}; features were given for {sorted(features)}'
            )
        outputs = {task: self._embed(task, features[task]) for task in self.tasks}
        rows = {task: len(output[1]) for task, output in outputs.items()}
        if len(set(rows.values())) > 1:
            raise ValueError(f'the features must be of the same samples, got {rows} samples')
        z = torch.stack([output[1] for output in outputs.values()])
        trust = self._confidence(z, samples, confidence)
        anchor = self._anchor(features)
        with torch.autocast(z.device.type, enabled=False):
            losses = {'loss_align': self.weight * self.objective(z, trust, anchor)}
            if self.guard is not None:
                h = torch.stack([output[0] for output in outputs.values()])
                losses['loss_guard'] = self.guard(h.to(z.dtype) if self.guard.on == 'h' else z)
        return losses | self._diagnostics(outputs, z.detach())

    def _embed(self, task: str, feature: Feature) -> tuple[Tensor, Tensor]:
        try:
            embedding, z = self.surrogates[task](feature)
        except ValueError as error:
            raise ValueError(f"task '{task}': {error}") from error
        return embedding, z

    def _confidence(
        self,
        z: Tensor,
        samples: Sequence[Any] | None,
        confidence: Mapping[str, Tensor] | None,
    ) -> Tensor | None:
        """(N, B) in the order of the tasks, or None if all are alike."""
        if confidence is not None:
            self._check_confidence(confidence, z.shape[1])
            return torch.stack([confidence[task].to(z) for task in self.tasks])
        if self.objective.unlabelled == 1.0:
            return None
        if samples is None:
            raise ValueError(
                "the objective's 'unlabelled' needs the samples, to know what is labelled; pass "
                'them, or confidence'
            )
        labels = [sample.tasks for sample in samples]
        masks = torch.stack([label_mask(labels, task, z.device) for task in self.tasks])
        return torch.where(masks, 1.0, self.objective.unlabelled).to(z)

    def _check_confidence(self, confidence: Mapping[str, Tensor], rows: int) -> None:
        if not self.objective.uses_confidence:
            raise ValueError(
                f"'confidence': {type(self.objective).__name__} does not use it, CenterObjective does"
            )
        for task in self.tasks:
            values = confidence.get(task)
            if values is None or values.shape != (rows,) or bool((values < 0).any()):
                shape = None if values is None else tuple(values.shape)
                raise ValueError(
                    f"'confidence': task '{task}' needs ({rows},) values that are not negative, "
                    f'got shape {shape}'
                )

    @torch.no_grad()
    def _anchor(self, features: Mapping[str, Feature]) -> Tensor | None:
        """Embeddings (N, B, D) of the momentum copies, which follow first when training."""
        if self.followers is None:
            return None
        if self.training:
            self.followers.update(self.surrogates)
        copies = cast('nn.ModuleDict', self.followers.module)
        return torch.stack([copies[task](features[task])[1] for task in self.tasks])

    @torch.no_grad()
    def _diagnostics(
        self, outputs: Mapping[str, tuple[Tensor, Tensor]], z: Tensor
    ) -> dict[str, Tensor]:
        """Scalars that are logged; (N, B, D) z is in the order of the tasks."""
        scalars = {'align_distance': center_distance(z)}
        errors = []
        for task, output in outputs.items():
            surrogate = self.surrogates[task]
            assert isinstance(surrogate, Surrogate)
            error = surrogate.round_trip_error(*output)
            errors += [] if error is None else [error]
        if errors:
            scalars['round_trip_error'] = torch.stack(errors).max()
        if z.shape[1] > 1:
            scalars['align_relative'] = relative_distance(z)
            for task, z_task in zip(outputs, z, strict=True):
                scalars[f'z_std_{task}'] = z_task.std(dim=0).mean()
        return scalars


def build_nexus_flow(
    tasks: Mapping[str, Mapping[str, Any]],
    dim: int = 256,
    flow: Mapping[str, Any] | None = None,
    weight: float = 1.0,
    objective: Mapping[str, Any] | None = None,
    guard: Mapping[str, Any] | None = None,
    channels: int | None = None,
) -> NexusFlow:
    """NexusFlow from plain dictionaries, as they stand in a configuration.

    Args:
        tasks: For each task its aggregator, see :func:`nexusflow.flows.aggregators.build_aggregator`.
        dim: Length D of the embeddings.
        flow: Arguments of :class:`CouplingFlow` other than ``dim``; for the ablations ``type``, a key of
            :data:`nexusflow.flows.transforms.TRANSFORMS`.
        weight: lambda.
        objective: See :func:`nexusflow.flows.objectives.build_objective`.
        guard: Arguments of :class:`nexusflow.flows.guard.CollapseGuard`.
        channels: ``in_channels`` of the aggregators that do not give their own.

    Raises:
        ValueError: If a type is missing or unknown, or an argument is out of range.
        TypeError: If an argument is missing or unknown.

    Example:
        >>> nexus = build_nexus_flow({
        ...     'map': dict(type='bev', in_channels=16),
        ...     'track': dict(type='queries', in_channels=8),
        ... }, dim=32)
        >>> out = nexus({'map': torch.rand(2, 16, 20, 10), 'track': torch.rand(2, 5, 8)})
        >>> sorted(out)
        ['align_distance', 'align_relative', 'loss_align', 'round_trip_error', 'z_std_map', 'z_std_track']
    """
    surrogates = {
        task: Surrogate(
            build_aggregator(spec, dim, channels, f"task '{task}'"), build_transform(flow, dim)
        )
        for task, spec in tasks.items()
    }
    return NexusFlow(
        surrogates,
        weight=weight,
        objective=build_objective(objective),
        guard=None if guard is None else CollapseGuard(**guard),
    )
