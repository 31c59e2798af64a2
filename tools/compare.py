#!/usr/bin/env python
# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Compare methods over seeds and supervision rules: from no data to one table.

EXPERIMENT is a declaration, see configs/comparisons. Each training, test and analysis is a process of
its own. A call goes on where an earlier one stopped or was killed, and repeats no finished run; run it
in pieces with --max-minutes. A run is known by its resolved configuration and the recipe of its data.
The state of the code is noted beside its result, and the table says when its rows come from different
ones; remove WORK_DIR/runs to measure anew. Writes WORK_DIR/results.json, table.md, table.csv and
report.html. The exit status is 1 if a run failed; the others go on.

Examples:
    python tools/compare.py configs/comparisons/map_track.py --max-minutes 60
    python tools/compare.py configs/comparisons/map_track.py --table-only --readme README.md
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import nexusflow
from nexusflow.engine.comparison import (
    Experiment,
    Plan,
    collect,
    csv_text,
    load_experiment,
    markdown,
    measured_elsewhere,
    put_between_markers,
)
from nexusflow.engine.machine import machine_name
from nexusflow.engine.progress import show_line
from nexusflow.engine.stages import StageRunner, command_environment, digest_of, end_on
from nexusflow.evaluation.functional.files import read_json, write_json, write_text
from nexusflow.visualization.comparison import write_comparison

TOOLS = Path(__file__).resolve().parent
PACKAGE = Path(nexusflow.__path__[0])


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('experiment', type=Path, help='declaration of the comparison')
    parser.add_argument('--work-dir', type=Path, help='default: work_dirs/compare_NAME')
    parser.add_argument('--data-root', type=Path, help='default: WORK_DIR/data; made if missing')
    parser.add_argument('--methods', nargs='+', metavar='NAME', help='run only these')
    parser.add_argument('--seeds', nargs='+', type=int, metavar='N', help='run only these')
    parser.add_argument('--jobs', type=int, default=1, help='runs at the same time, a GPU each')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes for data')
    parser.add_argument(
        '--max-minutes', type=float, metavar='M', help='start nothing after so many minutes'
    )
    parser.add_argument('--table-only', action='store_true', help='run nothing, write the results')
    parser.add_argument(
        '--elsewhere',
        type=Path,
        metavar='FILE',
        help='results.json of another machine: its runs of the same configuration and data count',
    )
    parser.add_argument('--readme', type=Path, help='also put the table between its markers there')
    parser.add_argument(
        '--smoke',
        action='store_true',
        help='tiny data, a few steps: shows only that all of it runs',
    )
    return parser.parse_args(argv)


def device_slots() -> list[dict[str, str]]:
    """For each GPU the variable that makes a command see it alone; nothing without GPUs."""
    import torch

    if not torch.cuda.is_available():
        return []
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    devices = visible.split(',') if visible else map(str, range(torch.cuda.device_count()))
    return [{'CUDA_VISIBLE_DEVICES': device} for device in devices]


def run_missing(
    args: argparse.Namespace, plan: Plan, elsewhere: Collection[tuple[str, int]]
) -> StageRunner:
    """Run what is missing of the chosen methods and seeds.

    Raises:
        RuntimeError: If another call uses the work dir.
    """
    runs = plan.runs(args.methods, args.seeds)
    runner = StageRunner(
        plan.stages([run for run in runs if (run.method.name, run.seed) not in elsewhere]),
        plan.work_dir / 'stages',
        args.jobs,
        command_environment(args.jobs, {plan.experiment.data_variable: str(plan.data_root)}),
        show_line,
        keep_going=True,
        max_seconds=None if args.max_minutes is None else 60 * args.max_minutes,
        slots=device_slots(),
        note=lambda: {
            'code': digest_of([PACKAGE])[:12],
            'machine': f'{machine_name()}, {args.jobs} jobs',
        },
    )
    runner.run()
    left = sum(not runner.is_finished(name) for name in runner.stages) - len(runner.failures)
    if left > 0:
        print(f'\n{left} commands are left; call again')
    return runner


def gather(args: argparse.Namespace, plan: Plan) -> tuple[dict[str, Any], dict[str, str]]:
    """All finished runs, after those that are missing ran; why runs failed.

    Where the runs themselves are not there, results.json is taken as it is.
    """
    records = plan.work_dir / 'stages'
    if args.table_only and not records.exists() and args.elsewhere is None:
        return read_json(plan.work_dir / 'results.json'), {}
    known = StageRunner(plan.stages(plan.runs()), records)
    elsewhere = {}
    if args.elsewhere is not None:
        try:
            elsewhere = measured_elsewhere(plan, known, read_json(args.elsewhere))
        except ValueError as error:
            raise ValueError(f'--elsewhere {args.elsewhere}: {error}') from error
        print(f'{args.elsewhere}: {len(elsewhere)} runs of the same configuration and data')
    failures = {} if args.table_only else run_missing(args, plan, elsewhere).failures
    return collect(plan, known, list(failures), elsewhere), failures


def write_results(
    plan: Plan, results: dict[str, Any], command: str, readme: Path | None = None
) -> None:
    """Write the results in every form, and print the table."""
    experiment, folder = plan.experiment, plan.work_dir
    table = markdown(results, command)
    write_json(folder / 'results.json', results, indent=1)
    write_text(folder / 'table.md', table)
    write_text(folder / 'table.csv', csv_text(results))
    if readme is not None:
        put_between_markers(readme, experiment.name, table)
    if any(method['runs'] for method in results['methods'].values()):
        print(f'\n{table}')
        page = folder / 'report.html'
        write_comparison(page, results, folder, experiment.pictures, plan.data_root, command)
        print(f'report: {page}')


def check_names(args: argparse.Namespace, experiment: Experiment) -> None:
    """Refuse methods and seeds that the comparison does not have.

    Raises:
        ValueError: The message names them.
    """
    unknown = set(args.methods or ()) - set(experiment.methods)
    if unknown:
        raise ValueError(
            f'--methods: unknown {sorted(unknown)}; there are {list(experiment.methods)}'
        )
    seeds = {seed for method in experiment.methods.values() for seed in method.seeds}
    if set(args.seeds or ()) - seeds:
        raise ValueError(f'--seeds: the comparison has {sorted(seeds)}, got {args.seeds}')


def place_of(experiment: Path) -> str:
    """Where a declaration lies below the folder above tools/; elsewhere its name."""
    path, root = experiment.resolve(), TOOLS.parent
    return str(path.relative_to(root)) if path.is_relative_to(root) else path.name


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, then write the results."""
    args = parse_args(argv)
    signal.signal(signal.SIGTERM, end_on)
    try:
        experiment = load_experiment(args.experiment)
        check_names(args, experiment)
        smoke = '_smoke' if args.smoke else ''
        work_dir = args.work_dir or Path('work_dirs') / f'compare_{experiment.name}{smoke}'
        data_root = args.data_root or work_dir / 'data'
        plan = Plan(experiment, work_dir, data_root, TOOLS, args.workers, args.smoke)
        results, failures = gather(args, plan)
        command = f'python tools/compare.py {place_of(args.experiment)}'
        write_results(plan, results, command, args.readme)
    except (OSError, RuntimeError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    for name, reason in failures.items():
        print(f'failed: {name}: {reason}', file=sys.stderr)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
