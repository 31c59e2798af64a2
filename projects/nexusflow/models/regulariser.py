# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""NexusFlow as an mmengine model: a cross-task regulariser, one configuration key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmdet3d.registry import MODELS
from torch import Tensor, nn

from ..flows.composite import Feature
from ..flows.nexus import build_nexus_flow
from ..supervision.view import View


@MODELS.register_module()
class NexusFlowRegulariser(nn.Module):
    """NexusFlow on the heads' features, for any tasks.

    Args:
        tasks: For each task its aggregator, and ``tap``: which feature of the head it reads, by name. 'levels' reads a
            list of taps, 'mixture' a tap for each of its parts, by default of the part's name. A task whose features
            have other channels than the heads' says ``in_channels``.
        channels: Channels of the heads' features; the detector fills it in.
        dim: Length of the embeddings.
        flow: Arguments of :class:`nexusflow.flows.coupling.CouplingFlow`; ``type`` 'none' or 'plain' for the ablations.
        weight: Weight of the alignment.
        objective: What alignment means, see :mod:`nexusflow.flows.objectives`; the paper's centre by default.
        guard: Arguments of :class:`nexusflow.flows.guard.CollapseGuard`; no guard by default.
    """

    extra_views = 0
    needs_dense = False

    def __init__(
        self,
        tasks: dict,
        channels: int | None = None,
        dim: int = 256,
        flow: dict | None = None,
        weight: float = 1.0,
        objective: dict | None = None,
        guard: dict | None = None,
    ) -> None:
        super().__init__()
        self.taps = {task: taps_of(task, spec) for task, spec in tasks.items()}
        aggregators = {
            task: {key: value for key, value in spec.items() if key != 'tap'}
            for task, spec in tasks.items()
        }
        self.nexus = build_nexus_flow(aggregators, dim, flow, weight, objective, guard, channels)

    def forward(self, views: Sequence[View], samples: Sequence) -> dict[str, Tensor]:
        """Align the first view.

        Args:
            views: Views of the samples.
            samples: The data samples, one a row of the features.

        Returns:
            ``loss_align``, with a guard ``loss_guard``, and diagnostics.

        Raises:
            KeyError: If a task or a tap is not among the features.
        """
        features = views[0].features
        picked = {task: pick(features, task, taps) for task, taps in self.taps.items()}
        return self.nexus(picked, samples)


def taps_of(task: str, spec: Mapping) -> str | list[str] | dict[str, str]:
    """What a task's aggregator reads: a tap, a list for 'levels', a tap for each part of a 'mixture'.

    Raises:
        ValueError: If ``tap`` is missing, or does not fit the aggregator.
    """
    kind, tap = spec.get('type'), spec.get('tap')
    if kind == 'mixture':
        parts = list(spec.get('parts', ()))
        taps = parts if tap is None else tap
        if isinstance(taps, str) or len(taps) != len(parts):
            raise ValueError(
                f"regulariser: task '{task}': give 'tap' as a list, one for each of {parts}"
            )
        return dict(zip(parts, taps, strict=True))
    if kind == 'levels' and tap is not None and not isinstance(tap, str):
        return list(tap)
    if not isinstance(tap, str):
        raise ValueError(f"regulariser: task '{task}': 'tap' must name one feature, got {tap!r}")
    return tap


def pick(
    features: Mapping[str, Mapping[str, Feature]],
    task: str,
    taps: str | list[str] | dict[str, str],
) -> Feature:
    """A task's features at its taps, in the structure that its aggregator reads.

    Raises:
        KeyError: If the task or a tap is not among the features.
    """
    if task not in features:
        raise KeyError(f"regulariser: no features of task '{task}', only of {sorted(features)}")
    if isinstance(taps, list):
        return [pick(features, task, tap) for tap in taps]
    if isinstance(taps, dict):
        return {part: pick(features, task, tap) for part, tap in taps.items()}
    if taps not in features[task]:
        raise KeyError(
            f"regulariser: task '{task}' has no tap '{taps}', only {sorted(features[task])}"
        )
    return features[task][taps]
