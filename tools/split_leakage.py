#!/usr/bin/env python
# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Prints the leakage of a split: the share of val samples within 5 m of a train sample.

Example:
    python tools/split_leakage.py data/nuscenes/nexusflow_infos_train.pkl data/nuscenes/nexusflow_infos_val.pkl
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nexusflow.datasets.info_file import load_info
from nexusflow.datasets.leakage import RADIUS_M, leakage
from nexusflow.evaluation.functional.files import write_json


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('train', type=Path, help='info file of the training split')
    parser.add_argument('val', type=Path, help='info file of the validation split')
    parser.add_argument('--radius', type=float, default=RADIUS_M, help='metres')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the counts here')
    return parser.parse_args()


def main() -> None:
    """Count, print, write."""
    args = parse_args()
    try:
        train, val = (load_info(path)['data_list'] for path in (args.train, args.val))
        counts = leakage(train, val, args.radius)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f'error: {error}')
    print(f'val samples within {args.radius:g} m of a train sample of the same location:')
    for place, own in counts.items():
        print(f'{place:<28}{own.near:>7} of {own.total:>7}  {own.share:7.1%}')
    if args.json:
        places = {
            place: {'near': own.near, 'total': own.total, 'share': own.share}
            for place, own in counts.items()
        }
        content = {'train': str(args.train), 'val': str(args.val), 'radius_m': args.radius}
        write_json(args.json, content | {'places': places}, indent=2)


if __name__ == '__main__':
    main()
