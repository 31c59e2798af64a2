# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""From a city's map to the lines around a pose: one record after the other, and with our index.

The city is made up, with the records of Boston. Both ways extract the three classes and resample them to 20
points, pose by pose in turn, in patches with many records and in patches with few; times are those of the
processor. Where polygons touch, MapTR's order of steps may leave slits (see ``nexusflow/geometry/vector_map.py``), so
the outcome is compared with the straightforward version in the other order.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
import shapely

from nexusflow.geometry.frames import make_rigid
from nexusflow.geometry.map_expansion import layers_of_tables
from nexusflow.geometry.polylines import line_lengths, resample
from nexusflow.geometry.vector_map import MapIndex, MapLayers

from .figures import Figure
from .map_tables import made_city
from .record_by_record import RecordByRecord, resample_each

RANGE_M = (-15.0, -30.0, 15.0, 30.0)
NUM_POINTS = 20
REPEATS = 20
FIGURES = {
    'extraction, dense patches, ratio': Figure('x', goal=50.0),
    'extraction, dense patches, ours': Figure('ms a pose'),
    'extraction, dense patches, records': Figure('in a patch'),
    'extraction, sparse patches, ratio': Figure('x', goal=50.0),
    'extraction, sparse patches, ours': Figure('ms a pose'),
    'extraction, sparse patches, records': Figure('in a patch'),
    'extraction, index of a city': Figure('s, once'),
}

Lines = dict[str, list[np.ndarray]]


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Ratios of the times per pose."""
    tables, poses = made_city(options.seed)
    start = time.process_time()
    layers = layers_of_tables(tables)
    index = MapIndex(layers)
    seconds = time.process_time() - start
    poses = np.random.default_rng(options.seed).permutation(poses)[:1000]
    records = records_near(layers, poses)
    order = np.argsort(records, kind='stable')
    order = order[records[order] > 0]
    count = 3 if options.quick else 20
    figures = {}
    for name, chosen in (('dense', order[-count:]), ('sparse', order[:count])):
        for pose in poses[chosen]:
            check_same(index, RecordByRecord(tables, clip_first=False), pose)
        slow, fast = times(index, RecordByRecord(tables), poses[chosen])
        title = f'extraction, {name} patches'
        figures[f'{title}, ratio'] = slow / fast
        figures[f'{title}, ours'] = fast * 1e3
        figures[f'{title}, records'] = float(records[chosen].mean())
    return {**figures, 'extraction, index of a city': seconds}


def lidar2global(pose: Sequence[float]) -> np.ndarray:
    """(4, 4) pose of x, y and yaw."""
    x, y, yaw = pose
    c, s = np.cos(yaw), np.sin(yaw)
    return make_rigid([[c, -s, 0], [s, c, 0], [0, 0, 1]], [x, y, 0])


def records_near(layers: MapLayers, poses: np.ndarray) -> np.ndarray:
    """Number of records that meet the patch of each pose."""
    tree = shapely.STRtree([*layers.road_surface, *layers.ped_crossings, *layers.dividers])
    corners = np.array([(RANGE_M[i], RANGE_M[j]) for i, j in ((0, 1), (2, 1), (2, 3), (0, 3))])
    c, s = np.cos(poses[:, 2]), np.sin(poses[:, 2])
    turn = np.stack([np.stack([c, s], axis=1), np.stack([-s, c], axis=1)], axis=1)
    patches = shapely.polygons(corners @ turn + poses[:, None, :2])
    hits, _ = tree.query(patches, predicate='intersects')
    return np.bincount(hits, minlength=len(poses))


def check_same(index: MapIndex, plain: RecordByRecord, pose: np.ndarray) -> None:
    """Both ways give as many lines of the same length.

    Raises:
        RuntimeError: They do not.
    """
    ours, theirs = index.extract(lidar2global(pose), RANGE_M), plain.extract(*pose, RANGE_M)
    for name in theirs:
        a, b = (np.sort(line_lengths(lines[name])) for lines in (ours, theirs))
        if len(a) != len(b) or not np.allclose(a, b, rtol=0, atol=1e-6):
            raise RuntimeError(f'{name} at {pose}: lengths {a}, record by record {b}')


def times(index: MapIndex, plain: RecordByRecord, poses: np.ndarray) -> tuple[float, float]:
    """Processor seconds a pose: record by record, and ours."""
    spent = np.zeros(2)
    for pose in poses:
        matrix = lidar2global(pose)
        spent[0] += _time(
            lambda p=pose: resample_each(_flat(plain.extract(*p, RANGE_M)), NUM_POINTS)
        )
        spent[1] += _time(
            lambda m=matrix: resample(_flat(index.extract(m, RANGE_M)), NUM_POINTS), REPEATS
        )
    slow, fast = spent / len(poses)
    return float(slow), float(fast)


def _time(call: Callable[[], object], repeats: int = 1) -> float:
    start = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - start) / repeats


def _flat(lines: Lines) -> list[np.ndarray]:
    return [line for own in lines.values() for line in own]
