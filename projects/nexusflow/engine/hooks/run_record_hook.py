# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What a training cost: parameters, memory and time, measured by the process that trained."""

from __future__ import annotations

import resource
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet3d.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from nexusflow.evaluation.functional.files import write_json

from ..loading import TRAINING_ONLY_PREFIXES

RUN_RECORD = 'run_record.json'


@HOOKS.register_module()
class NexusRunRecordHook(Hook):
    """Writes ``run_record.json`` into the work dir at the end of a training.

    It holds ``parameters`` in training and ``parameters_inference`` (without the regulariser),
    ``iterations``, ``step_s`` (mean time of an iteration, loading included, in seconds; one slower than thrice the
    median counts as that), ``peak_mb`` (MiB; allocated by torch on a GPU, resident in the process on a CPU) and
    ``device``.
    A resumed training counts all its iterations and the largest memory of its processes.

    Args:
        warm_up: First iterations, which are left out of the time unless there are no others.
    """

    def __init__(self, warm_up: int = 10) -> None:
        self.warm_up = warm_up

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Before each checkpoint is the place to keep the memory; every iteration is cheap enough."""
        runner.message_hub.update_info('peak_mb', max(self._earlier_peak(runner), peak_mb()))

    def after_train(self, runner: Runner) -> None:
        """Write the record."""
        if not is_main_process():
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        seconds, _ = runner.message_hub.get_scalar('train/time').data
        record = {
            **count_parameters(model),
            'iterations': int(runner.iter),
            'step_s': usual_mean(seconds, self.warm_up),
            'peak_mb': max(self._earlier_peak(runner), peak_mb()),
            'device': str(next(model.parameters()).device.type),
        }
        write_json(Path(runner.work_dir) / RUN_RECORD, record, indent=2)

    @staticmethod
    def _earlier_peak(runner: Runner) -> float:
        """Largest memory so far, also of the processes that this one goes on for."""
        return float(runner.message_hub.runtime_info.get('peak_mb', 0.0))


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Numbers of parameters in training, and at inference, where the regulariser is absent."""
    counts = {name: value.numel() for name, value in model.named_parameters()}
    dropped = sum(n for name, n in counts.items() if name.startswith(TRAINING_ONLY_PREFIXES))
    total = sum(counts.values())
    return {'parameters': total, 'parameters_inference': total - dropped}


def usual_mean(values: Iterable[Any], warm_up: int) -> float:
    """Mean of all but the first values, of all if there are no more; at most thrice the median of each.

    A median alone would not see what a method costs in less than half of the iterations.

    Example:
        >>> usual_mean([9.0, 1.0, 1.0, 2.0, 2.0], warm_up=1)
        1.5
        >>> usual_mean([1.0, 1.0, 1.0, 900.0], warm_up=0)
        1.5
    """
    numbers = np.asarray(list(values), dtype=np.float64)
    numbers = numbers[warm_up:] if len(numbers) > warm_up else numbers
    return float(numbers.clip(max=3 * np.median(numbers)).mean())


def peak_mb() -> float:
    """Largest memory of this process so far, MiB: on the GPU if it uses one, else resident."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
