# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The fast tracking evaluation beside the official one, at the size of nuScenes' val split.

150 scenes, 6000 samples, boxes made up. Times are of the processor, so that other work on the machine
does not matter. The fast one is timed with reading the tables; the official one without, and unless
``--full`` on one scene in ten, scaled by scenes: in truth it grows faster than that, because it
searches all events for every object. Beside it, 30 small random submissions on which both must
agree.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from nexusflow.evaluation.functional.fast_tracking import evaluate_fast
from nexusflow.evaluation.functional.files import read_json, write_json
from nexusflow.evaluation.functional.official_tracking import evaluate_official, load_tables
from nexusflow.evaluation.functional.tracking_result import largest_difference
from nexusflow.evaluation.made_up_submission import TrackerFaults, make_submission
from nexusflow.evaluation.made_up_tables import EVAL_SET, VERSION, MadeUpSpec, make_tables

from .figures import Figure

PART = 'made_up_part'
TOLERANCE = 1e-6
FAULTS = TrackerFaults(miss=0.25, false_boxes=4.0)
FIGURES = {
    'tracking evaluation': Figure('s'),
    'official tracking evaluation': Figure('s'),
    'tracking evaluation, times faster': Figure('times', goal=20.0),
    'boxes predicted': Figure(),
    'boxes annotated': Figure(),
    'largest difference of a metric, full size': Figure(goal=TOLERANCE, more_is_better=False),
    'largest difference, random submissions': Figure(goal=TOLERANCE, more_is_better=False),
    'random submissions': Figure(),
}


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Time both evaluations on one submission, and compare them on many."""
    spec = MadeUpSpec(30, 40, 12) if options.quick else MadeUpSpec(150, 40, 38)
    root = options.folder / 'track'
    make_tables(root, spec, options.seed)
    submission = make_submission(root, options.seed, FAULTS)
    eval_set, share = _part(root, 1.0 if options.full else 0.1)
    start = time.process_time()
    fast = evaluate_fast(submission, root, VERSION, [EVAL_SET])
    seconds = time.process_time() - start
    fast |= evaluate_fast(submission, root, VERSION, [eval_set])
    load_tables(root, VERSION)
    start = time.process_time()
    official = evaluate_official(submission, root, VERSION, [eval_set])
    official_s = (time.process_time() - start) / share
    annotations = read_json(root / VERSION / 'sample_annotation.json')
    values = [
        seconds,
        official_s,
        official_s / seconds,
        float(sum(map(len, submission['results'].values()))),
        float(len(annotations)),
        largest_difference(fast[eval_set], official[eval_set]),
        *_random_submissions(options.folder / 'track_small', 3 if options.quick else 30),
    ]
    return dict(zip(FIGURES, values, strict=True))


def _part(root: Path, share: float) -> tuple[str, float]:
    """Name an eval set with a share of the scenes; gives its name and the share that it has."""
    path = root / VERSION / 'splits.json'
    splits = read_json(path)
    scenes = splits[EVAL_SET]
    splits[PART] = scenes[: max(1, round(share * len(scenes)))]
    write_json(path, splits)
    return PART, len(splits[PART]) / len(scenes)


def _random_submissions(root: Path, count: int) -> tuple[float, float]:
    """Largest difference over small random submissions, and their number."""
    make_tables(root, MadeUpSpec(), seed=0)
    worst = 0.0
    for seed in range(count):
        submission = make_submission(root, seed)
        fast = evaluate_fast(submission, root, VERSION, [EVAL_SET])[EVAL_SET]
        official = evaluate_official(submission, root, VERSION, [EVAL_SET])[EVAL_SET]
        worst = max(worst, largest_difference(fast, official))
    return worst, float(count)
