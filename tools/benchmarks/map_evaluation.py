# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The judge of vector maps at nuScenes' size: 6000 samples of 50 predictions, MapTR's metric.

The straightforward version follows the published procedure step by step under shapely 2: every
element is resampled point by point, and the buffers and distances are computed anew for each of the
three thresholds. It judges 200 of the samples, in turns with ours and on the same ones; both times
are processor time per sample, so that what else the machine does counts little, and the true
positives must agree. Its time for all samples is scaled by their number.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from shapely import STRtree
from shapely.geometry import LineString

from nexusflow.evaluation.functional.chamfer_ap import MODES, ChamferMode, MapLines, match_sample
from nexusflow.evaluation.functional.map_evaluation import MapProtocol, evaluate_map
from nexusflow.evaluation.functional.map_results import read_map_results, write_map_results

from .figures import Figure

CLASSES = ('divider', 'ped_crossing', 'boundary')
TRUE_PER_SAMPLE = (4.5, 1.1, 3.5)
PREDICTIONS = 50
MODE = MODES['maptr']
SAMPLES, COMPARED, TURN = 6000, 200, 20
SPEED_UP = 'map evaluation, straightforward / ours'
SLOW = 'map evaluation, straightforward, one core'
FAST = 'map evaluation, ours, one core'
SCALED = 'the same, straightforward, scaled from 200'
WHOLE = 'map evaluation of 6000 x 50'
FROM_FILE = 'map evaluation of 6000 x 50, from the file'
FIGURES = {
    SPEED_UP: Figure('times', goal=20.0),
    SLOW: Figure('CPU ms/sample'),
    FAST: Figure('CPU ms/sample'),
    WHOLE: Figure('s', goal=60.0, more_is_better=False),
    FROM_FILE: Figure('s'),
    SCALED: Figure('CPU s'),
}


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Compare on a part, then judge everything; a quick run scales from 200 samples."""
    rng = np.random.default_rng(options.seed)
    count = 200 if options.quick else SAMPLES
    samples = [make_sample(rng) for _ in range(count)]
    slow, fast = compare(samples[: 20 if options.quick else COMPARED])
    truth = {f'{k:05d}': true for k, (_, true) in enumerate(samples)}
    path = options.folder / 'map.json'
    write_map_results(path, {f'{k:05d}': pred for k, (pred, _) in enumerate(samples)}, CLASSES)
    start = time.perf_counter()
    predictions = read_map_results(path, CLASSES)
    reading = time.perf_counter() - start
    protocol = MapProtocol(MODE)
    evaluate_map(predictions, truth, CLASSES, protocol, workers=options.workers)
    seconds = time.perf_counter() - start
    scale = SAMPLES / count
    return {
        SPEED_UP: slow / fast,
        SLOW: 1e3 * slow,
        FAST: 1e3 * fast,
        WHOLE: scale * (seconds - reading),
        FROM_FILE: scale * seconds,
        SCALED: SAMPLES * slow,
    }


def compare(samples: list[tuple[MapLines, MapLines]]) -> tuple[float, float]:
    """Processor seconds per sample of the straightforward version and of ours, measured in turns.

    Raises:
        RuntimeError: They do not agree on the true positives.
    """
    slow = fast = 0.0
    for begin in range(0, len(samples), TURN):
        turn = samples[begin : begin + TURN]
        start = time.process_time()
        expected = [straightforward(pred, true, MODE) for pred, true in turn]
        middle = time.process_time()
        found = [match_sample(pred, true, len(CLASSES), MODE).hits for pred, true in turn]
        fast += time.process_time() - middle
        slow += middle - start
        if not all(map(np.array_equal, expected, found)):
            raise RuntimeError('the straightforward evaluation has other true positives')
    return slow / len(samples), fast / len(samples)


def straightforward(pred: MapLines, true: MapLines, mode: ChamferMode) -> NDArray[np.bool_]:
    """(T, P) true positives of a sample, by the published procedure."""
    hits = np.zeros((len(mode.thresholds_m), len(pred.pts_m)), dtype=bool)
    for label in range(len(CLASSES)):
        mine = np.flatnonzero(pred.labels == label)
        found = [resample_slowly(pred.pts_m[k], mode.num_points) for k in mine]
        real = [
            resample_slowly(pts, mode.num_points)
            for pts, other in zip(true.pts_m, true.labels, strict=True)
            if other == label
        ]
        for row, threshold in enumerate(mode.thresholds_m):
            hits[row, mine] = match_slowly(found, real, pred.scores[mine], threshold)
    return hits


def resample_slowly(pts_m: NDArray[np.float64], num_points: int) -> NDArray[np.float64]:
    """(num_points, 2) points at even arc length."""
    line = LineString(pts_m)
    distances = np.linspace(0.0, line.length, num_points)
    return np.array([line.interpolate(distance).coords[0] for distance in distances])


def match_slowly(
    found: list[NDArray[np.float64]],
    real: list[NDArray[np.float64]],
    scores: NDArray[np.float64],
    threshold: float,
) -> list[bool]:
    """True positives of one class at one threshold."""
    hits = [False] * len(found)
    if not found or not real:
        return hits
    shapes = [LineString(pts).buffer(2.0, cap_style='flat', join_style='mitre') for pts in found]
    tree = STRtree(shapes)
    distances = np.full((len(found), len(real)), np.inf)
    for j, pts in enumerate(real):
        shape = LineString(pts).buffer(2.0, cap_style='flat', join_style='mitre')
        for i in tree.query(shape):
            if shapes[i].intersects(shape):
                gaps = cdist(found[i], pts)
                distances[i, j] = (gaps.min(axis=1).mean() + gaps.min(axis=0).mean()) / 2
    taken = set()
    for i in np.argsort(-scores, kind='stable'):
        nearest = int(distances[i].argmin())
        if distances[i, nearest] <= threshold and nearest not in taken:
            hits[i] = True
            taken.add(nearest)
    return hits


def make_sample(rng: np.random.Generator) -> tuple[MapLines, MapLines]:
    """Predictions and truth: half of the predictions near a true element, half anywhere."""
    labels = np.repeat(np.arange(len(CLASSES)), rng.poisson(TRUE_PER_SAMPLE))
    true = [make_element(rng, CLASSES[label]) for label in labels]
    found, found_labels = [], []
    for k in range(PREDICTIONS):
        near = len(true) > 0 and k % 2 == 0
        label = int(labels[k // 2 % len(true)] if near else rng.integers(len(CLASSES)))
        shape = true[k // 2 % len(true)] if near else make_element(rng, CLASSES[label])
        places = np.linspace(0, len(shape) - 1, 20)
        columns = [np.interp(places, np.arange(len(shape)), shape[:, axis]) for axis in (0, 1)]
        shift = rng.normal(scale=0.7, size=2)
        found.append(np.stack(columns, axis=1) + shift + rng.normal(scale=0.1, size=(20, 2)))
        found_labels.append(label)
    scores = rng.permutation(np.linspace(0.01, 0.99, PREDICTIONS))
    return (
        MapLines(found, np.array(found_labels), scores),
        MapLines(true, labels, np.ones(len(true))),
    )


def make_element(rng: np.random.Generator, name: str) -> NDArray[np.float64]:
    """A bent line, or a rectangle for a crossing, within 30 x 60 m."""
    centre, turn = rng.uniform([-12, -25], [12, 25]), rng.uniform(0, np.pi)
    if name == 'ped_crossing':
        sides = rng.uniform([2, 5], [4, 15])
        shape = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5]]) * sides
    else:
        x = np.linspace(-0.5, 0.5, int(rng.integers(8, 40))) * rng.uniform(10, 50)
        shape = np.stack([x, rng.uniform(-0.02, 0.02) * x**2], axis=1)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return np.clip(shape @ rotation + centre, [-15, -30], [15, 30])
