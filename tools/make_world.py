# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Makes a data set: two cities in nuScenes format, or indoor rooms in the layout of MTAN's NYUv2.

Examples:
    python tools/make_world.py --out data/world --preset demo --workers 4
    python tools/make_world.py --out data/av2_world --source av2 --av2-log path/to/log
    python tools/make_world.py --kind indoor --out data/rooms --preset tiny --workers 4
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nexusflow.world.build import PRESETS, WorldSpec, make_world, preset
from nexusflow.world.indoor.build import make_indoor
from nexusflow.world.indoor.spec import INDOOR_PRESETS, IndoorSpec, indoor_preset

_CITY_NUMBERS = (
    'train_scenes_per_city',
    'val_scenes_per_city',
    'frames_per_scene',
    'train_networks_per_city',
    'val_networks_per_city',
)
_ROOM_NUMBERS = ('train_images', 'val_images')
#: Options that belong to one kind of data set.
_OWN = {
    'cities': (*_CITY_NUMBERS, 'domain_gap', 'source', 'av2_log'),
    'indoor': _ROOM_NUMBERS,
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, required=True, help='data root to make')
    parser.add_argument(
        '--kind', choices=tuple(_OWN), default='cities', help='kind of data set (default: cities)'
    )
    presets = f'cities: {", ".join(sorted(PRESETS))}; indoor: {", ".join(sorted(INDOOR_PRESETS))}'
    parser.add_argument('--preset', default='demo', help=f'{presets} (default: demo)')
    parser.add_argument('--seed', type=int, default=0, help='same seed, same bytes (default: 0)')
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count(), help='processes (default: one per core)'
    )
    parser.add_argument('--image-size', type=int, nargs=2, metavar=('W', 'H'), help='pixels')
    parser.add_argument('--overwrite', action='store_true', help='replace another world at --out')
    cities = parser.add_argument_group('two cities')
    cities.add_argument('--source', choices=('sumo', 'av2'), help='default: sumo')
    cities.add_argument(
        '--av2-log',
        nargs='+',
        metavar='DIR',
        help='with --source av2: log folders; the last is the val split, the others train',
    )
    cities.add_argument(
        '--domain-gap', type=float, metavar='G', help='0: one look for both cities; 1: full gap'
    )
    for name in _CITY_NUMBERS:
        cities.add_argument(_flag(name), type=int, metavar='N', help="instead of the preset's")
    rooms = parser.add_argument_group('indoor rooms')
    for name in _ROOM_NUMBERS:
        rooms.add_argument(_flag(name), type=int, metavar='N', help="instead of the preset's")
    return parser.parse_args(argv)


def _flag(name: str) -> str:
    return '--' + name.replace('_', '-')


def spec_of(args: argparse.Namespace) -> WorldSpec | IndoorSpec:
    """Gives the preset with what the command line changes.

    Raises:
        ValueError: If the preset is unknown, a value is out of its range, or an option belongs to the
            other kind.
    """
    given = {
        name: value
        for names in _OWN.values()
        for name in names
        if (value := getattr(args, name)) is not None
    }
    alien = sorted(set(given) - set(_OWN[args.kind]))
    if alien:
        raise ValueError(f'{_flag(alien[0])} does not belong to --kind {args.kind}: leave it out')
    if args.image_size:
        given['image_size_wh'] = tuple(args.image_size)
    if args.kind == 'indoor':
        return dataclasses.replace(indoor_preset(args.preset), **given)
    given['av2_logs'] = tuple(given.pop('av2_log', ()))
    return dataclasses.replace(preset(args.preset), **given)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; bad input gives one line and status 2."""
    args = parse_args(argv)
    try:
        spec = spec_of(args)
        common = (args.seed, args.workers)
        if isinstance(spec, IndoorSpec):
            made = make_indoor(args.out, spec, *common, overwrite=args.overwrite)
        else:
            made = make_world(args.out, spec, *common, overwrite=args.overwrite)
    except (OSError, RuntimeError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'{args.out}: ' + ('made' if made else 'already there, nothing to do'))
    return 0


if __name__ == '__main__':
    sys.exit(main())
