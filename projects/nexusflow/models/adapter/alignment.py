# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What an adapted detector carries in addition: taps, partial labels, and the cross-task regulariser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...flows.composite import Feature
from ...supervision.view import View
from .labels import Group, PartialLabels, take
from .taps import Tap, join, read, recording

SHARED = ('shared encoder', 'tap')


class TaskAlignment(nn.Module):
    """Losses of a detector under partial labels, and of a regulariser on its tapped features.

    Args:
        taps: Task to its taps by name.
        regulariser: Cross-task regulariser; None trains the detector by its own losses.
        labels: Losses and label fields of the tasks; None if the detector masks its losses itself.
        shared: Tap of the feature of the encoder that the tasks share, for regularisers that look at it.
    """

    def __init__(
        self,
        taps: Mapping[str, Mapping[str, Tap]],
        regulariser: nn.Module | None,
        labels: PartialLabels | None = None,
        shared: Tap | None = None,
    ) -> None:
        super().__init__()
        self.tasks = tuple(taps)
        self.regulariser = regulariser
        self.taps: dict[tuple[str, str], Tap] = {}
        if regulariser is not None:
            for task, named in taps.items():
                self.taps.update({(task, name): tap for name, tap in named.items()})
            if shared is not None:
                self.taps[SHARED] = shared
        self.labels = labels

    def forward(
        self,
        detector: nn.Module,
        run: Callable[[Any, list], dict],
        inputs: Any,
        samples: list,
    ) -> dict[str, Tensor]:
        """Losses of the batch.

        Args:
            detector: The detector.
            run: Its function (inputs, samples) -> losses.
            inputs: Inputs of B samples.
            samples: B data samples, or clips of data samples.

        Returns:
            The detector's losses, and the regulariser's losses and statistics.

        Raises:
            KeyError: If the regulariser's names are already among the detector's.
        """
        groups = [Group(self.tasks, list(range(len(samples))))]
        if self.labels is not None:
            groups = self.labels.groups(samples, next(detector.parameters()).device)
        losses, features, rows = [], [], []
        for group in groups:
            # a process without samples of this labelling runs along with one of its own
            picked = group.rows or [0]
            part, part_samples = inputs, samples
            if len(groups) > 1:
                part = take(inputs, picked, len(samples))
                part_samples = [samples[row] for row in picked]
            with recording(detector, self.taps) as records:
                losses.append(run(part, part_samples))
            if group.rows:
                rows += group.rows
                count = len(_flat(part_samples))
                read_all = {key: read(*key, self.taps[key], records[key], count) for key in records}
                features.append(read_all)
        mixed = losses[0] if self.labels is None else self.labels.mix(groups, losses, detector)
        extra = self._regularise(features, rows, _flat(samples))
        clash = mixed.keys() & extra.keys()
        if clash:
            raise KeyError(f'{sorted(clash)}: named by the detector and by the regulariser')
        return {**mixed, **extra}

    def _regularise(
        self, parts: Sequence[Mapping[tuple, Feature]], rows: Sequence[int], samples: list
    ) -> dict[str, Tensor]:
        """The regulariser on the features of all groups, put back in the order of the batch."""
        if self.regulariser is None:
            return {}
        picked = parts[0]
        if len(parts) > 1:
            order = torch.argsort(torch.tensor(rows))
            picked = {key: join([part[key] for part in parts], order) for key in self.taps}
        for sample in samples:
            if 'tasks' not in sample:
                sample.set_metainfo(dict(tasks=self.tasks))
        features: dict[str, dict[str, Feature]] = {task: {} for task in self.tasks}
        for task, name in picked.keys() - {SHARED}:
            features[task][name] = picked[task, name]
        return self.regulariser([View(features, shared=picked.get(SHARED))], samples)


def _flat(samples: list) -> list:
    """Data samples of a list of samples or of clips."""
    return [s for clip in samples for s in clip] if isinstance(samples[0], list) else samples
