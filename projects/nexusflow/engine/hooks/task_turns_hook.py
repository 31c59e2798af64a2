# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Tasks that are not taught in every step: time for those that learn slowly."""

from __future__ import annotations

from collections.abc import Mapping

from mmdet3d.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class NexusTaskTurnsHook(Hook):
    """Hides a task's labels in all but every n-th iteration.

    A detector with ``skip_unlabelled`` then does not run the task's head there, so that the same time holds more
    steps of the others. It depends on the iteration alone: a resumed run sees what an undisturbed one does.

    Args:
        every: Task to n; a task that is not named is taught in every iteration.

    Raises:
        ValueError: An n that is not a whole number from 1 on.
    """

    def __init__(self, every: Mapping[str, int]) -> None:
        for task, n in every.items():
            if not isinstance(n, int) or n < 1:
                raise ValueError(f"task turns: every['{task}'] is {n!r}, it must be 1, 2, 3 ...")
        self.every = dict(every)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Hide the labels in a batch of T frames of B samples."""
        hidden = {task for task, n in self.every.items() if runner.iter % n}
        if not hidden:
            return
        for frame in data_batch['data_samples']:
            for sample in frame:
                sample.set_metainfo(dict(tasks=tuple(t for t in sample.tasks if t not in hidden)))
