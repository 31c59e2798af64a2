# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A robot's loop with the tiny model: what a frame costs, and whether the thousandth costs more than the first.

Weights are random, every peak gives birth and no track ends by itself, so the number of tracks stays at its bound:
what would pile up does so here first.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tqdm import trange

from nexusflow.tracker import Tracker
from nexusflow.world.camera import nuscenes_like_rig

from .figures import Figure

CONFIG = Path(__file__).parents[2] / 'configs' / 'nexusflow' / 'nexusflow_tiny_full.py'
FRAMES, PART = 1000, 100
FRAME, LATER, MEMORY = (
    f'tracker, {name}' for name in ('a frame', 'later frames / first', 'memory gained')
)
FIGURES = {
    FRAME: Figure('ms, median, 6 cameras'),
    LATER: Figure('times, median of pairs', goal=1.1, more_is_better=False),
    MEMORY: Figure('MiB after the first', goal=10.0, more_is_better=False),
}


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Step through frames of noise; a first part of them, until the tracks are at their bound, is not compared.

    A machine's speed drifts over minutes by more than the goal. So the frames after the last are compared with the
    early ones of a second tracker, in turns.
    """
    frames, part = (60, 15) if options.quick else (FRAMES, PART)
    old, young = (Steps(make_tracker(options.seed), options.seed) for _ in range(2))
    for _ in range(part):
        young.step()
    seconds, peak_mib = [], []
    for _ in trange(frames, desc='frames', unit='frame'):
        seconds.append(old.step())
        peak_mib.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    ratios = [old.step() / young.step() for _ in trange(part, desc='pairs', unit='pair')]
    return {
        FRAME: 1e3 * float(np.median(seconds[part:])),
        LATER: float(np.median(ratios)),
        MEMORY: peak_mib[-1] - peak_mib[2 * part],
    }


class Steps:
    """A tracker that is given one frame of noise again and again.

    Args:
        tracker: The tracker.
        seed: Of the noise.
    """

    def __init__(self, tracker: Tracker, seed: int) -> None:
        self.tracker, self.cameras, self.time_s = tracker, nuscenes_like_rig((480, 270)), 0.0
        noise = np.random.default_rng(seed)
        self.images = {
            c.channel: noise.integers(0, 256, (c.height, c.width, 3), dtype=np.uint8)
            for c in self.cameras
        }

    def step(self) -> float:
        """One frame, half a second after the last; the seconds it took."""
        start = time.perf_counter()
        self.tracker.step(self.images, self.cameras, np.eye(4), self.time_s)
        self.time_s += 0.5
        return time.perf_counter() - start


def make_tracker(seed: int) -> Tracker:
    """The tiny model without training, in which tracks are born everywhere and end at their bound only."""
    torch.manual_seed(seed)
    cfg = Config.fromfile(CONFIG)
    init_default_scope(cfg.default_scope)
    cfg.model.lifecycle.update(birth_score=0.0, keep_score=0.0, duplicate_m=0.0)
    model = MODELS.build(cfg.model)
    model.track_head.motion.gate = 0.0
    _, *transforms = cfg.test_dataloader.dataset.pipeline
    return Tracker(model, [dict(transform) for transform in transforms])
