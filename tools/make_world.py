# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Makes a two-city world in nuScenes format: maps, traffic, camera images, tables.

Examples:
    python tools/make_world.py --out data/world --preset demo --workers 4
    python tools/make_world.py --out data/av2_world --source av2 --av2-log path/to/log
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nexusflow.world.build import PRESETS, WorldSpec, make_world, preset

_NUMBERS = (
    'train_scenes_per_city',
    'val_scenes_per_city',
    'frames_per_scene',
    'train_networks_per_city',
    'val_networks_per_city',
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, required=True, help='data root to make')
    parser.add_argument(
        '--preset', default='demo', help=f'one of {", ".join(sorted(PRESETS))} (default: demo)'
    )
    parser.add_argument('--seed', type=int, default=0, help='same seed, same bytes (default: 0)')
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count(), help='processes (default: one per core)'
    )
    parser.add_argument('--source', choices=('sumo', 'av2'), default='sumo')
    parser.add_argument(
        '--av2-log',
        nargs='+',
        default=[],
        metavar='DIR',
        help='with --source av2: log folders; the last is the val split, the others train',
    )
    parser.add_argument(
        '--domain-gap', type=float, metavar='G', help='0: one look for both cities; 1: full gap'
    )
    for name in _NUMBERS:
        flag = '--' + name.replace('_', '-')
        parser.add_argument(flag, type=int, metavar='N', help="instead of the preset's")
    parser.add_argument('--image-size', type=int, nargs=2, metavar=('W', 'H'), help='pixels')
    parser.add_argument('--overwrite', action='store_true', help='replace another world at --out')
    return parser.parse_args(argv)


def spec_of(args: argparse.Namespace) -> WorldSpec:
    """Gives the preset with what the command line changes.

    Raises:
        ValueError: If the preset is unknown or a value is out of its range.
    """
    changes = {name: getattr(args, name) for name in (*_NUMBERS, 'domain_gap')}
    changes['image_size_wh'] = tuple(args.image_size) if args.image_size else None
    changes = {name: value for name, value in changes.items() if value is not None}
    logs = tuple(args.av2_log)
    return dataclasses.replace(preset(args.preset), source=args.source, av2_logs=logs, **changes)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; bad input gives one line and status 2."""
    args = parse_args(argv)
    try:
        spec = spec_of(args)
        made = make_world(args.out, spec, args.seed, args.workers, overwrite=args.overwrite)
    except (OSError, RuntimeError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'{args.out}: ' + ('made' if made else 'already there, nothing to do'))
    return 0


if __name__ == '__main__':
    sys.exit(main())
