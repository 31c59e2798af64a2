#!/usr/bin/env python
# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Measures how fast the parts are, beside the figures that they are meant to reach.

Examples:
    python tools/benchmark.py all --json work_dirs/benchmark.json
    python tools/benchmark.py convert --data-root work_dirs/demo/world
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nexusflow
from nexusflow.datasets.info_file import load_info
from nexusflow.datasets.nuscenes_converter import ConvertSpec, convert
from nexusflow.evaluation.functional.files import write_json
from nexusflow.visualization.curves import read_scalars
from nexusflow.world.build import PRESETS, make_world

TOOLS = Path(__file__).resolve().parent
CONFIG = TOOLS.parent / 'configs' / 'nexusflow' / 'nexusflow_tiny.py'
VERSION = 'v1.0-world'
WARM_UP_ITERS = 5


@dataclass(frozen=True)
class Figure:
    """A measured value and its goal.

    Attributes:
        name: What was measured.
        value: The result.
        unit: Its unit.
        goal: Value to reach; None if there is none.
        more_is_better: Whether the goal is a lower bound.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    more_is_better: bool = True

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.more_is_better else self.value <= self.goal

    def line(self) -> str:
        """One line of the table."""
        bound = 'at least' if self.more_is_better else 'at most'
        goal = '' if self.goal is None else f'{bound} {self.goal:g}: {"yes" if self.met else "NO"}'
        return f'{self.name:<36}{self.value:>12.3f}  {self.unit:<22}{goal}'


class Bench:
    """The parts, and the world that they share.

    Args:
        args: Command line.
        folder: Where things are written.
    """

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args, self.folder = args, folder
        self._root: Path | None = args.data_root

    def root(self) -> Path:
        """Data root with a world; made if there is none yet."""
        if self._root is None:
            self.world()
        assert self._root is not None
        return self._root

    def world(self) -> list[Figure]:
        """World generation at the demo's size: roads, traffic, pictures, tables."""
        spec, workers = PRESETS['demo'], self.args.workers
        if self.args.quick:
            spec = replace(spec, train_scenes_per_city=2, val_scenes_per_city=1, frames_per_scene=8)
        root = self.folder / 'world'
        start = time.perf_counter()
        make_world(root, spec, seed=0, workers=workers)
        seconds = time.perf_counter() - start
        self._root = root
        scenes = 2 * (spec.train_scenes_per_city + spec.val_scenes_per_city)
        rate = scenes * spec.frames_per_scene / seconds
        return [
            Figure('world generation', rate / workers, 'samples/s per core', goal=15.0),
            Figure('world generation, all cores', rate, 'samples/s'),
        ]

    def convert(self) -> list[Figure]:
        """Conversion of the tables and the map to info files, by one process."""
        spec = ConvertSpec(self.root(), VERSION, self.folder / 'infos')
        start = time.perf_counter()
        paths = convert(spec, workers=1, force=True)
        seconds = time.perf_counter() - start
        samples = {s['token'] for path in paths.values() for s in load_info(path)['data_list']}
        return [Figure('conversion', len(samples) / seconds, 'samples/s per core', goal=100.0)]

    def loading(self) -> list[Figure]:
        """How much of a training step of the tiny config is waiting for data."""
        convert(ConvertSpec(self.root(), VERSION, self.root()), workers=self.args.workers)
        iters = WARM_UP_ITERS + (5 if self.args.quick else 40)
        work_dir = self.folder / 'loading'
        options = [
            f'train_cfg.max_iters={iters}',
            f'train_cfg.val_begin={iters + 1}',
            'default_hooks.logger.interval=1',
            'log_processor.window_size=1',
        ]
        command = [sys.executable, TOOLS / 'train.py', CONFIG, '--work-dir', work_dir]
        source = str(Path(nexusflow.__path__[0]).parent)
        path = os.pathsep.join([source, os.environ.get('PYTHONPATH', '')])
        env = {**os.environ, 'NEXUSFLOW_DATA_ROOT': str(self.root()), 'PYTHONPATH': path}
        with open(self.folder / 'loading.log', 'wb') as log:
            subprocess.run(
                [*command, '--cfg-options', *options],
                env=env,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=True,
            )
        steps = [step for step in read_scalars(work_dir) if 'data_time' in step][WARM_UP_ITERS:]
        waiting, total = (sum(step[key] for step in steps) for key in ('data_time', 'time'))
        return [
            Figure('waiting for data, tiny config', waiting / total, 'of a step', 0.1, False),
            Figure('training step, tiny config', total / len(steps), 's'),
        ]


PARTS: dict[str, Callable[[Bench], list[Figure]]] = {
    'world': Bench.world,
    'convert': Bench.convert,
    'loading': Bench.loading,
}


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('parts', nargs='+', choices=[*PARTS, 'all'], help='what is measured')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the figures here')
    parser.add_argument('--data-root', type=Path, help='a world that exists; else one is made')
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count(), help='processes for the world'
    )
    parser.add_argument('--quick', action='store_true', help='little data: figures are rough')
    return parser.parse_args()


def main() -> int:
    """Measure, print, write."""
    args = parse_args()
    names = list(PARTS) if 'all' in args.parts else list(dict.fromkeys(args.parts))
    results: dict[str, list[Figure]] = {}
    with tempfile.TemporaryDirectory(prefix='nexusflow_benchmark_') as folder:
        bench = Bench(args, Path(folder))
        for name in names:
            results[name] = PARTS[name](bench)
    for figures in results.values():
        print('\n'.join(figure.line() for figure in figures))
    if args.json:
        tables = {
            part: {
                f.name: {'value': f.value, 'unit': f.unit, 'goal': f.goal, 'met': f.met}
                for f in figures
            }
            for part, figures in results.items()
        }
        machine = f'{platform.platform()}, {os.cpu_count()} cores'
        write_json(args.json, {'machine': machine, 'quick': args.quick, 'parts': tables}, indent=2)
    return 0


if __name__ == '__main__':
    sys.exit(main())
