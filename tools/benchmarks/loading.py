# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""How much of a training step of the tiny config is waiting for data."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import nexusflow
from nexusflow.datasets.nuscenes_converter import ConvertSpec, convert
from nexusflow.visualization.curves import read_scalars

from .figures import Figure
from .world import VERSION, world_root

TOOLS = Path(__file__).resolve().parents[1]
CONFIG = TOOLS.parent / 'configs' / 'nexusflow' / 'nexusflow_tiny.py'
WARM_UP_ITERS = 5
WAITING, STEP = 'waiting for data, tiny config', 'training step, tiny config'
FIGURES = {
    WAITING: Figure('of a step', goal=0.1, more_is_better=False),
    STEP: Figure('s'),
}


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Train some steps and read their times from the log."""
    root = world_root(options)
    convert(ConvertSpec(root, VERSION, root), workers=options.workers)
    iters = WARM_UP_ITERS + (5 if options.quick else 40)
    work_dir = options.folder / 'loading'
    settings = [
        f'train_cfg.max_iters={iters}',
        f'train_cfg.val_begin={iters + 1}',
        f'randomness.seed={options.seed}',
        'default_hooks.logger.interval=1',
        'log_processor.window_size=1',
    ]
    command = [sys.executable, TOOLS / 'train.py', CONFIG, '--work-dir', work_dir]
    source = str(Path(nexusflow.__path__[0]).parent)
    path = os.pathsep.join([source, os.environ.get('PYTHONPATH', '')])
    env = {**os.environ, 'NEXUSFLOW_DATA_ROOT': str(root), 'PYTHONPATH': path}
    with open(options.folder / 'loading.log', 'wb') as log:
        subprocess.run(
            [*command, '--cfg-options', *settings],
            env=env,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
        )
    steps = [step for step in read_scalars(work_dir) if 'data_time' in step][WARM_UP_ITERS:]
    waiting, total = (sum(step[key] for step in steps) for key in ('data_time', 'time'))
    return {WAITING: waiting / total, STEP: total / len(steps)}
