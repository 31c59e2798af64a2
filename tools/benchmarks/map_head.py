# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The map head at MapTRv2's sizes: what a step costs, and that its operations do not grow with instances or points.

torch's profiler counts the operations of forward, losses and backward for few queries, points and elements and for
the published number. A loop in Python over any of them would show in the ratio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from types import SimpleNamespace

import torch
from mmengine.structures import InstanceData
from torch.profiler import ProfilerActivity, profile

from nexusflow.models.map.map_head import NexusMapHead

from .figures import Figure

BATCH, CHANNELS = 2, 256
BEV_GRID = dict(range_m=(-51.2, -51.2, 51.2, 51.2), cell_m=3.2)
MAP_GRID = dict(range_m=(-15.0, -30.0, 15.0, 30.0), cell_m=1.5)
# instances, points, one-to-many instances, elements
FEW, PUBLISHED = (10, 5, 20, 2), (50, 20, 300, 30)
GROWTH = 'map head, operations at 50 x 20 / at 10 x 5'
COUNT = 'map head, operations of a step'
FORWARD, LOSSES, BACKWARD = (f'map head, {name}' for name in ('forward', 'losses', 'backward'))
FIGURES = {
    # operators choose what they call inside by size: a few calls more or less
    GROWTH: Figure('times', goal=1.01, more_is_better=False),
    COUNT: Figure('calls'),
    FORWARD: Figure('ms, 2 samples'),
    LOSSES: Figure('ms, 2 samples'),
    BACKWARD: Figure('ms, 2 samples'),
}


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Count operations, then time a step."""
    torch.manual_seed(options.seed)
    counts = [count_operations(make_step(*sizes)) for sizes in (FEW, PUBLISHED)]
    times = time_step(make_step(*PUBLISHED), repeats=1 if options.quick else 3)
    return {GROWTH: counts[1] / counts[0], COUNT: float(counts[1]), **times}


def make_step(num: int, points: int, extra: int, elements: int) -> Callable[[], dict[str, float]]:
    """A training step of a head: function -> milliseconds of its parts."""
    head = NexusMapHead(
        CHANNELS,
        BEV_GRID,
        MAP_GRID,
        num_queries=num,
        num_points=points,
        num_layers=6,
        query_source='learned',
        decoder=dict(attentions=('across', 'along', 'cross'), num_heads=8),
        one_to_many=dict(num_queries=extra, repeats=6),
    )
    bev = torch.randn(BATCH, CHANNELS, 32, 32)
    samples = [SimpleNamespace(tasks=('map',), gt_map=lines(elements, points))] * BATCH

    def step() -> dict[str, float]:
        start = time.perf_counter()
        outputs = head(bev)
        forward = time.perf_counter()
        losses = head.losses_of(outputs, samples)
        judged = time.perf_counter()
        torch.stack(list(losses.values())).sum().backward()
        ends = (forward, judged, time.perf_counter())
        starts = (start, forward, judged)
        names = (FORWARD, LOSSES, BACKWARD)
        return {n: 1e3 * (b - a) for n, a, b in zip(names, starts, ends, strict=True)}

    return step


def lines(number: int, points: int) -> InstanceData:
    """Made-up elements, every second of them a ring."""
    middle = torch.rand(number, 1, 2) * torch.tensor([20.0, 50.0]) - torch.tensor([10.0, 25.0])
    angle = torch.linspace(0, 2 * torch.pi, points)
    circle = 3 * torch.stack([angle.cos(), angle.sin()], dim=-1)
    return InstanceData(
        labels=torch.arange(number) % 3,
        pts_m=middle + circle,
        is_closed=torch.arange(number) % 2 == 0,
    )


def count_operations(step: Callable[[], object]) -> int:
    """Calls of torch's operators in a step, by the profiler."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        step()
    return sum(e.count for e in recorded.key_averages() if e.key.startswith('aten::'))


def time_step(step: Callable[[], dict[str, float]], repeats: int) -> dict[str, float]:
    """Least times of some steps after one to warm up."""
    step()
    runs = [step() for _ in range(repeats)]
    return {name: min(run[name] for run in runs) for name in runs[0]}
