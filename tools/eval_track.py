#!/usr/bin/env python
# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Scores a nuScenes tracking submission, whole and per city, in seconds; --official by the devkit.

The fast evaluator gives the official numbers to 1e-6. Splits that lie within the eval set, such as its
cities, are scored too.

Example:
    python tools/eval_track.py tracking_submission.json --dataroot data/nuscenes \
        --version v1.0-trainval --eval-set val --json scores.json
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

from nexusflow.evaluation.functional.eval_sets import parts_of_eval_set
from nexusflow.evaluation.functional.fast_tracking import evaluate_fast
from nexusflow.evaluation.functional.files import write_json
from nexusflow.evaluation.functional.official_tracking import evaluate_official
from nexusflow.evaluation.functional.submission import read_submission
from nexusflow.evaluation.functional.tracking_result import TrackingResult, track_table


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('submission', type=Path, help='tracking submission, a JSON file')
    parser.add_argument('--dataroot', type=Path, required=True, help='root of the data set')
    parser.add_argument('--version', default='v1.0-trainval', help='folder of its tables')
    parser.add_argument(
        '--eval-set', default='val', help='predefined split, or a key of <version>/splits.json'
    )
    parser.add_argument(
        '--official', action='store_true', help='by the unmodified devkit and motmetrics: minutes'
    )
    parser.add_argument('--workers', type=int, default=1, help='processes of --official')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all metrics here')
    parser.add_argument('--out-dir', type=Path, help="write the devkit's summaries and curves here")
    return parser.parse_args()


def report(name: str, result: TrackingResult) -> None:
    """Print the table of one eval set, and why it is zero."""
    print(f'\n{name}\n{track_table(result)}')
    if result.reason is not None:
        print(f'AMOTA is 0. {result.reason}')


def main() -> None:
    """Score, print, write."""
    args = parse_args()
    start = time.perf_counter()
    try:
        submission = read_submission(args.submission)
        parts = parts_of_eval_set(args.dataroot, args.version, args.eval_set)
        names = [args.eval_set, *parts.values()]
        where = (args.dataroot, args.version, names, args.out_dir)
        if args.official:
            results = evaluate_official(submission, *where, args.workers)
        else:
            results = evaluate_fast(submission, *where)
    except (FileNotFoundError, ImportError, ValueError) as error:
        sys.exit(f'error: {error}')
    for name in names:
        report(name, results[name])
    judge = 'official' if args.official else 'fast'
    print(f'\n{judge} evaluation: {time.perf_counter() - start:.1f} s')
    if args.json:
        scores = {
            name: {
                'metrics': {
                    key: None if math.isnan(value) else value
                    for key, value in result.metrics.items()
                },
                'classes': {
                    metric: {k: None if math.isnan(v) else v for k, v in row.items()}
                    for metric, row in result.summary['label_metrics'].items()
                },
                'reason': result.reason,
            }
            for name, result in results.items()
        }
        write_json(args.json, {'judge': judge, 'eval_sets': scores}, indent=2)


if __name__ == '__main__':
    main()
