# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Random numbers that do not depend on whether a run was interrupted."""

from __future__ import annotations

import torch
from mmdet3d.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class NexusSeedHook(Hook):
    """Seeds torch before each iteration from the run's seed, the iteration and the process.

    mmengine does not save the state of the random generators. With this hook dropout and the like
    draw the same numbers in a resumed run as in one that was never stopped.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | list | None = None
    ) -> None:
        """Seed the generators of all devices."""
        words = torch.tensor([runner.seed, runner.iter, get_rank()]) + 1
        factors = torch.tensor([1_000_003, 10_007, 1])
        torch.manual_seed(int((words * factors).sum()))
