#!/usr/bin/env python
# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Measures how fast the parts are, beside the figures that they are meant to reach.

Examples:
    python tools/benchmark.py all --json work_dirs/benchmark.json
    python tools/benchmark.py convert --data-root work_dirs/demo/world
    python tools/benchmark.py map --workers 2
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from benchmarks.figures import Figure

from nexusflow.engine.machine import machine_name
from nexusflow.evaluation.functional.files import write_json

PARTS = {
    'world': ('world',),
    'convert': ('convert',),
    'loading': ('loading',),
    'map': ('map_extraction', 'map_evaluation', 'map_head'),
    'track': ('track',),
    'stream': ('streaming',),
    'flows': ('flows',),
    'alignment': ('alignment',),
}
"""Part -> modules of ``benchmarks``, imported when they are asked for."""

NEEDS_EXTRA = {'flows': 'peers'}
"""Part -> extra of the package; 'all' leaves it out, and says so."""


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('parts', nargs='+', choices=[*PARTS, 'all'], help='what is measured')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the figures here')
    parser.add_argument('--data-root', type=Path, help='a world that exists; else one is made')
    parser.add_argument('--seed', type=int, default=0, help='of what the parts make up')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes')
    parser.add_argument('--quick', action='store_true', help='little data: figures are rough')
    parser.add_argument(
        '--full', action='store_true', help='run slow references whole, not on a part: half an hour'
    )
    return parser.parse_args()


def run_part(name: str, options: argparse.Namespace) -> dict[str, dict[str, object]]:
    """Measure a part, print its figures and return them for the JSON file."""
    records = {}
    for module_name in PARTS[name]:
        module = import_module(f'benchmarks.{module_name}')
        for figure, value in module.measure(options).items():
            meaning = getattr(module, 'FIGURES', {}).get(figure, Figure())
            print(meaning.line(figure, value), flush=True)
            records[figure] = meaning.record(value)
    return records


def main() -> int:
    """Measure, print, write."""
    options = parse_args()
    names = list(dict.fromkeys(options.parts))
    if 'all' in names:
        names = [name for name in PARTS if name not in NEEDS_EXTRA or name in names]
        for name, extra in NEEDS_EXTRA.items():
            if name not in names:
                print(f'left out: {name} (pip install ".[{extra}]", then ask for it by name)')
    with tempfile.TemporaryDirectory(prefix='nexusflow_benchmark_') as folder:
        options.folder = Path(folder)
        tables = {name: run_part(name, options) for name in names}
    if options.json:
        content = {'machine': machine_name(), 'quick': options.quick, 'parts': tables}
        write_json(options.json, content, indent=2)
    return 0


if __name__ == '__main__':
    sys.exit(main())
