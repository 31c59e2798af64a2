#!/usr/bin/env python
# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Judges saved map predictions against an info file; no model is needed.

The file of the predictions is described in docs/map_predictions.md.

Example:
    python tools/eval_map.py map.json data/world/nexusflow_infos_world_val.pkl --mode maptr --raster
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexusflow.datasets.info_file import load_info
from nexusflow.evaluation.functional.chamfer_ap import MODES
from nexusflow.evaluation.functional.files import write_json
from nexusflow.evaluation.functional.map_evaluation import MapProtocol, MapScores, evaluate_map
from nexusflow.evaluation.functional.map_results import ground_truth_lines, read_map_results


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('predictions', type=Path, help='JSON file by sample token')
    parser.add_argument('info', type=Path, help='info file with the true maps')
    parser.add_argument('--mode', choices=sorted(MODES), default='maptr', help='of Chamfer AP')
    parser.add_argument(
        '--classes', nargs='+', metavar='CLASS', help="the labels' names; default: the info file's"
    )
    parser.add_argument('--raster', action='store_true', help="also UniAD's IoU of drawn lines")
    parser.add_argument('--raster-ap', action='store_true', help="also MapVR's rasterised AP")
    parser.add_argument(
        '--min-score', type=float, default=0.1, help='predictions below are not drawn for the IoU'
    )
    parser.add_argument('--workers', type=int, default=1, help='processes')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the scores here')
    return parser.parse_args()


def evaluate(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, MapScores]]:
    """Read, check and judge; gives what was measured, and the scores of each location."""
    info = load_info(args.info)
    classes = args.classes or list(info['metainfo']['map_classes'])
    truth = ground_truth_lines(info['data_list'], classes, str(args.info))
    predictions = read_map_results(args.predictions, classes)
    protocol = MapProtocol.of(args.mode, args.raster, args.raster_ap, args.min_score)
    locations = {sample['token']: sample['location'] for sample in info['data_list']}
    try:
        scores = evaluate_map(predictions, truth, classes, protocol, locations, args.workers)
    except ValueError as error:
        raise ValueError(f'{args.predictions} against {args.info}: {error}') from error
    meta = {
        'predictions': str(args.predictions),
        'info': str(args.info),
        'split': info['metainfo']['split'],
        'samples': len(truth),
        'frame': info['metainfo']['frame'],
        'mode': args.mode,
        'map_range_m': list(info['metainfo']['map_range_m']),
        'raster_min_score': args.min_score if args.raster else None,
    }
    return meta, scores


def table(scores: Mapping[str, MapScores]) -> str:
    """The scores as text: a row for each value but the single thresholds, a column per place."""
    columns = {place: own.flat() for place, own in scores.items()}
    names = [name for name in columns['all'] if '@' not in name]
    width = max(12, *(len(place) + 2 for place in columns))
    rows = [' ' * 26 + ''.join(f'{place:>{width}}' for place in columns)]
    for name in names:
        values = ''.join(f'{column[name]:>{width}.3f}' for column in columns.values())
        rows.append(f'{name:<26}{values}')
    for label, title in enumerate(scores['all'].chamfer.classes):
        counts = ''.join(f'{own.chamfer.num_gt[label]:>{width}}' for own in scores.values())
        rows.append(f'{"true " + title:<26}{counts}')
    return '\n'.join(rows)


def record(scores: MapScores) -> dict[str, Any]:
    """The scores of one place for JSON; NaN (no ground truth) becomes None."""
    flat: dict[str, Any] = {
        name: None if math.isnan(value) else value for name, value in scores.flat().items()
    }
    counts = scores.chamfer
    for kind, numbers in (('num_gt', counts.num_gt), ('num_pred', counts.num_pred)):
        flat[kind] = dict(zip(counts.classes, numbers.tolist(), strict=True))
    return flat


def main() -> None:
    """Judge, print, write."""
    args = parse_args()
    start = time.perf_counter()
    try:
        meta, scores = evaluate(args)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f'error: {error}')
    print(f'mode {args.mode}, {meta["samples"]} samples of {meta["split"]}')
    print(table(scores))
    print(f'{time.perf_counter() - start:.1f} s')
    if args.json:
        results = {place: record(own) for place, own in scores.items()}
        write_json(args.json, {'meta': meta, 'results': results}, indent=2)


if __name__ == '__main__':
    main()
