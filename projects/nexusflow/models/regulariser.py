# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Cross-task regularisers as mmengine models: registered under MODELS, one configuration key."""

from __future__ import annotations

from collections.abc import Sequence

from mmdet3d.registry import MODELS
from torch import Tensor, nn

from ..flows.nexus import build_nexus_flow
from ..supervision.view import View


@MODELS.register_module()
class NexusFlowRegulariser(nn.Module):
    """NexusFlow on the heads' features.

    Args:
        tasks: For each task its aggregator, and ``tap``: which feature of the head it reads ('bev' or 'queries').
        channels: Channels of the heads' features; the detector fills it in.
        dim: Length of the embeddings.
        flow: Arguments of :class:`nexusflow.flows.coupling.CouplingFlow`.
        weight: Weight of the alignment.
    """

    def __init__(
        self,
        tasks: dict,
        channels: int,
        dim: int = 256,
        flow: dict | None = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        tasks = {task: {'in_channels': channels, **spec} for task, spec in tasks.items()}
        self.taps = {task: spec.pop('tap') for task, spec in tasks.items()}
        self.nexus = build_nexus_flow(tasks, dim=dim, flow=flow, weight=weight)

    def forward(self, views: Sequence[View], samples: list) -> dict[str, Tensor]:
        """Align the first view.

        Args:
            views: Views of the samples.
            samples: The data samples, one a row of the features.

        Returns:
            ``loss_align`` and diagnostics.

        Raises:
            KeyError: If a tap is not among the head's features.
        """
        features, picked = views[0].features, {}
        for task, tap in self.taps.items():
            if tap not in features[task]:
                raise KeyError(
                    f"regulariser: task '{task}' has no tap '{tap}', only {sorted(features[task])}"
                )
            picked[task] = features[task][tap]
        return self.nexus(picked, samples)
