# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""World generation at the demo's size: roads, traffic, pictures, tables."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from nexusflow.world.build import PRESETS, make_world

from .figures import Figure

VERSION = 'v1.0-world'
RATE_PER_CORE, RATE = 'world generation', 'world generation, all cores'
FIGURES = {RATE_PER_CORE: Figure('samples/s per core', goal=15.0), RATE: Figure('samples/s')}


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Make a world, which later parts use, and say how fast that was."""
    spec = PRESETS['demo']
    if options.quick:
        spec = replace(spec, train_scenes_per_city=2, val_scenes_per_city=1, frames_per_scene=8)
    root = options.folder / 'world'
    start = time.perf_counter()
    make_world(root, spec, seed=options.seed, workers=options.workers)
    seconds = time.perf_counter() - start
    options.data_root = root
    scenes = 2 * (spec.train_scenes_per_city + spec.val_scenes_per_city)
    rate = scenes * spec.frames_per_scene / seconds
    return {RATE_PER_CORE: rate / options.workers, RATE: rate}


def world_root(options: argparse.Namespace) -> Path:
    """Data root with a world; made if there is none yet."""
    if options.data_root is None:
        measure(options)
    return Path(options.data_root)
