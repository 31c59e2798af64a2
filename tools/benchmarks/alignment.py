# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What a regulariser costs in training: step time and peak memory of the tiny model, beside the bare one.

One made-up batch at the tiny config's size, labelled by city. The models start with the same weights and
take their steps in turns; a step is forward, backward and optimiser. Time is of the processor, one thread, so that
other work on the machine counts little, and a ratio is the median over the rounds of the paired ones.
Peak memory is counted, not sampled: torch's profiler reports every allocation and release of a step,
and what was there before (weights, statistics, gradients, the optimiser's state) is added. A process's
resident memory would include the interpreter, and differ from run to run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn
from torch.profiler import ProfilerActivity, profile

import nexusflow.models  # noqa: F401  (registers the classes)
from nexusflow.testing import make_clip_batch

from .figures import Figure

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'nexusflow'
METHODS = {
    'bare model': 'nexusflow_tiny_baseline.py',
    'NexusFlow': 'nexusflow_tiny.py',
    'MTPSL': 'nexusflow_tiny_mtpsl.py',
    'JTR': 'nexusflow_tiny_jtr.py',
}
BARE = 'bare model'
CITIES = (('map',), ('track',))
WARM_UP = 2
GOALS = {'NexusFlow': (1.05, 1.10)}


def names_of(method: str) -> tuple[str, str]:
    """Names of a method's figures: time and memory; ratios but for the bare model."""
    if method == BARE:
        return f'training step, {method}', f'peak memory, {method}'
    return f'step time, {method} / {BARE}', f'peak memory, {method} / {BARE}'


def _figures() -> dict[str, Figure]:
    found = dict(zip(names_of(BARE), (Figure('CPU s'), Figure('MiB')), strict=True))
    for method in list(METHODS)[1:]:
        for name, goal in zip(names_of(method), GOALS.get(method, (None, None)), strict=True):
            found[name] = Figure('times', goal, more_is_better=False)
    return found


FIGURES = _figures()


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Build the models, take steps in turns, then count the memory of one more step each."""
    register_all_modules()
    with one_thread():
        runs = {name: Training(CONFIGS / path, options.seed) for name, path in METHODS.items()}
        seconds = step_in_turns(runs, rounds=2 if options.quick else 12)
        memory = {name: run.peak_bytes() for name, run in runs.items()}
    values = {}
    for method in METHODS:
        time_name, memory_name = names_of(method)
        if method == BARE:
            values[time_name] = statistics.median(seconds[method])
            values[memory_name] = memory[method] / 2**20
            continue
        paired = zip(seconds[method], seconds[BARE], strict=True)
        values[time_name] = statistics.median(own / bare for own, bare in paired)
        values[memory_name] = memory[method] / memory[BARE]
    return values


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Training:
    """A model, its optimiser and a batch.

    Args:
        path: Configuration.
        seed: Of weights and batch.
    """

    def __init__(self, path: Path, seed: int) -> None:
        cfg = Config.fromfile(path)
        torch.manual_seed(seed)
        self.model: nn.Module = MODELS.build(cfg.model).train()
        self.optim = build_optim_wrapper(self.model, cfg.optim_wrapper)
        size = cfg.train_dataloader.batch_size
        tasks = [CITIES[k % 2] for k in range(size)]
        self.batch = make_clip_batch(size, 1, tuple(cfg.image_hw), tasks, seed)

    def step(self) -> None:
        """A training step."""
        self.model.train_step(self.batch, self.optim)

    def peak_bytes(self) -> int:
        """Most memory that is in use at once during a step."""
        kept = [*self.model.state_dict().values()]
        kept += [p.grad for p in self.model.parameters() if p.grad is not None]
        kept += [v for state in self.optim.optimizer.state.values() for v in state.values()]
        before = sum(tensor.numel() * tensor.element_size() for tensor in kept)
        return before + peak_of(self.step)


def peak_of(work: Callable[[], object]) -> int:
    """Most bytes in use at once during some work, above what was in use before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    in_use = most = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == '[memory]':
            in_use += event.nbytes()
            most = max(most, in_use)
    return most


def step_in_turns(runs: dict[str, Training], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each run's steps, the runs in another order each round."""
    names, seconds = list(runs), {name: [] for name in runs}
    for turn in range(-WARM_UP, rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            start = time.process_time()
            runs[name].step()
            if turn >= 0:
                seconds[name].append(time.process_time() - start)
    return seconds
