#!/usr/bin/env python
# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""From nothing to a comparison: makes a two-city data set, trains on it in three ways, judges them.

The map is labelled in Boston only and the tracks in Singapore only (baseline, NexusFlow), or
everything is labelled everywhere (full supervision). A call that was interrupted goes on where it
stopped; finished stages are not repeated. Writes WORK_DIR/metrics.json and WORK_DIR/report.html.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import signal
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import nexusflow
from nexusflow.engine.machine import machine_name
from nexusflow.engine.progress import show_line
from nexusflow.engine.stages import Stage, StageRunner, command_environment, digest_of, end_on
from nexusflow.evaluation.functional.files import read_json, write_json
from nexusflow.evaluation.functional.summary import metrics_by_city
from nexusflow.visualization.report import write_report

TOOLS = Path(__file__).resolve().parent
CONFIGS = TOOLS.parent / 'configs'
PACKAGE = Path(nexusflow.__path__[0])
VERSION = 'v1.0-world'
WORLD_CODE = ('geometry', 'world')
DATA_CODE = ('geometry', 'datasets')
TRAIN_CODE = ('datasets', 'engine', 'flows', 'geometry', 'models', 'supervision')
TEST_CODE = (*TRAIN_CODE, 'evaluation')
PARTIAL = {'map': ['boston'], 'track': ['singapore']}
SMOKE_WORLD = (
    '--train-scenes-per-city 1 --val-scenes-per-city 1 --train-networks-per-city 1 '
    '--val-networks-per-city 1 --frames-per-scene 4'
)
SMOKE_ITERS = 4


@dataclass(frozen=True)
class Method:
    """One way to train.

    Attributes:
        label: Its name in tables.
        config: Its file in configs/nexusflow.
        labels: The labelled cities of each task; all if empty.
    """

    label: str
    config: str
    labels: dict[str, list[str]]


METHODS = {
    'baseline': Method('Baseline (partial labels)', 'nexusflow_tiny_baseline.py', PARTIAL),
    'nexusflow': Method('NexusFlow (partial labels)', 'nexusflow_tiny.py', PARTIAL),
    'full': Method('Full supervision', 'nexusflow_tiny_full.py', {}),
}


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'))
    parser.add_argument('--seed', type=int, default=0, help='of the world and of the trainings')
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count(), help='processes for the data'
    )
    # also with fewer cores than methods: they share the cores, and none is idle while the last one trains
    jobs = len(METHODS)
    parser.add_argument('--jobs', type=int, default=jobs, help='trainings at the same time')
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS))
    parser.add_argument(
        '--smoke',
        action='store_true',
        help='tiny data, a few steps: shows only that all of it runs',
    )
    args = parser.parse_args()
    args.work_dir = args.work_dir.resolve()
    if ' ' in str(args.work_dir):
        parser.error(
            f'--work-dir: {args.work_dir} has a space, which mmengine drops from --cfg-options; name another folder'
        )
    return args


def data_stages(args: argparse.Namespace, world: Path) -> list[Stage]:
    """Make the world, and its info files."""
    flags = shlex.split(SMOKE_WORLD) if args.smoke else []
    workers = ['--workers', str(args.workers)]
    make = ['--out', str(world), '--preset', 'demo', '--seed', str(args.seed), *workers]
    convert = ['nuscenes', '--root-path', str(world), '--version', VERSION, *workers]
    return [
        Stage(
            'world',
            command('make_world.py', *make, *flags),
            seconds=60,
            outputs=(world / VERSION / 'splits.json',),
            folder=world,
            sources=sources(WORLD_CODE),
        ),
        Stage(
            'convert',
            command('create_data.py', *convert),
            needs=('world',),
            seconds=15,
            outputs=(world / 'nexusflow_infos_world_val.pkl',),
            sources=sources(DATA_CODE),
        ),
    ]


def method_stages(args: argparse.Namespace, name: str, work_dir: Path) -> list[Stage]:
    """Train a method and judge it."""
    config = str(CONFIGS / 'nexusflow' / METHODS[name].config)
    # The test stage judges; a validation at the end of training would do it twice.
    train = [f'randomness.seed={args.seed}', 'train_cfg.val_begin=1000000']
    if args.smoke:
        train += [
            f'train_cfg.max_iters={SMOKE_ITERS}',
            f'param_scheduler.0.total_steps={SMOKE_ITERS}',
            f'custom_hooks.0.milestones=({SMOKE_ITERS // 2},)',
        ]
    test = [
        f'test_evaluator.0.out_file={work_dir}/map.json',
        f'test_evaluator.1.out_dir={work_dir}/track',
        f'test_evaluator.1.workers={args.workers}',
        'test_evaluator.1.greedy=False',
    ]
    return [
        Stage(
            f'train_{name}',
            command('train.py', config, '--work-dir', str(work_dir), '--resume', '--cfg-options', *train),
            needs=('convert',),
            kind='train',
            seconds=450,
            outputs=(work_dir / 'last_checkpoint',),
            folder=work_dir,
            sources=sources(TRAIN_CODE) + digest_of([CONFIGS]),
        ),
        Stage(
            f'test_{name}',
            command(
                'test.py', config, str(work_dir), '--work-dir', f'{work_dir}/test',
                '--metrics-out', str(work_dir / 'metrics.json'), '--cfg-options', *test,
            ),
            needs=(f'train_{name}',),
            kind='test',
            seconds=90,
            outputs=(work_dir / 'metrics.json', work_dir / 'map.json'),
            sources=sources(TEST_CODE) + digest_of([CONFIGS]),
        ),
    ]  # fmt: skip


def sources(packages: tuple[str, ...]) -> str:
    """Digest of some parts of the package."""
    return digest_of([PACKAGE / name for name in packages])


def command(tool: str, *args: str) -> tuple[str, ...]:
    """A tool of this folder, run by this Python."""
    return (sys.executable, str(TOOLS / tool), *args)


def collect(args: argparse.Namespace, seconds: dict[str, float]) -> dict:
    """What the report shows of each method."""
    methods = {}
    for name in args.methods:
        work_dir = args.work_dir / name
        flat = read_json(work_dir / 'metrics.json')
        methods[name] = {
            'label': METHODS[name].label,
            'metrics': metrics_by_city({k: math.nan if v is None else v for k, v in flat.items()}),
            'work_dir': str(work_dir),
            'map_file': str(work_dir / 'map.json'),
            'tracking_file': str(work_dir / 'track' / 'tracking_submission.json'),
            'labels': METHODS[name].labels,
            'reference': name == 'full',
            'seed': args.seed,
            'seconds': seconds[f'train_{name}'] + seconds[f'test_{name}'],
        }
    return methods


def table(methods: dict) -> str:
    """The main figures as text, a method a line."""
    columns = [(c, m) for c in ('all', 'boston', 'singapore') for m in ('mAP', 'AMOTA')]
    lines = [' ' * 28 + ''.join(f'{city:>10}' for city, _ in columns)]
    lines.append(' ' * 28 + ''.join(f'{metric:>10}' for _, metric in columns))
    for method in methods.values():
        values = [method['metrics'].get(city, {}).get(metric) for city, metric in columns]
        texts = ['-' if value is None else f'{value:.3f}' for value in values]
        lines.append(f'{method["label"]:<28}' + ''.join(f'{text:>10}' for text in texts))
    return '\n'.join(lines)


def main() -> int:
    """Run what is missing, then write the results."""
    args = parse_args()
    signal.signal(signal.SIGTERM, end_on)
    world = args.work_dir / 'world'
    stages = data_stages(args, world)
    pairs = [method_stages(args, name, args.work_dir / name) for name in args.methods]
    # the trainings, which take longest, go first
    stages += [stage for kind in zip(*pairs, strict=True) for stage in kind]
    runner = StageRunner(
        stages,
        args.work_dir / 'stages',
        args.jobs,
        command_environment(args.jobs, {'NEXUSFLOW_DATA_ROOT': str(world)}),
        show_line,
    )
    start = time.monotonic()
    try:
        seconds = runner.run()
    except RuntimeError as error:
        print(f'\nerror: {error}', file=sys.stderr)
        return 1
    methods = collect(args, seconds)
    write_json(args.work_dir / 'metrics.json', {n: m['metrics'] for n, m in methods.items()}, 2)
    report = write_report(
        args.work_dir / 'report.html',
        {
            'data_root': str(world),
            'info_file': str(world / 'nexusflow_infos_world_val.pkl'),
            'methods': methods,
            'commands': [shlex.join(stage.command) for stage in stages],
            'seconds': max(time.monotonic() - start, sum(seconds.values()) / args.jobs),
            'seeds': [args.seed],
            'machine': machine_name(),
            'versions': {
                p: version(p) for p in ('torch', 'mmengine', 'mmdet3d', 'nuscenes-devkit')
            },
        },
    )
    print(f'\n{table(methods)}')
    print(f'report: {report}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
