# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Vector maps of a data set as a file; the format is described in ``docs/map_predictions.md``.

``{'meta': {'schema': 'nexusflow-map', 'schema_version': 1, 'frame': 'lidar', 'map_classes': [...]},
'results': {token: {'pts_m': [[[x, y], ...], ...], 'labels': [...], 'scores': [...]}}}``; metres,
LIDAR_TOP frame (x right, y forward). A sample without a prediction is a key with empty lists.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chamfer_ap import MapLines
from .files import read_json, write_json

__all__ = [
    'SCHEMA',
    'check_lines',
    'ground_truth_lines',
    'map_results',
    'read_map_results',
    'write_map_results',
]

SCHEMA = 'nexusflow-map'
SCHEMA_VERSION = 1


def map_results(lines: Mapping[str, MapLines], classes: Sequence[str]) -> dict[str, Any]:
    """Maps of samples as plain containers, ready for JSON.

    Args:
        lines: Token to its lines, lidar frame.
        classes: Names of the labels.

    Returns:
        The content of a result file, sorted by token, coordinates rounded to 0.1 mm.
    """
    meta = {'schema': SCHEMA, 'schema_version': SCHEMA_VERSION, 'frame': 'lidar', 'units': 'm'}
    results = {
        token: {
            'pts_m': [np.asarray(pts, np.float64).round(4).tolist() for pts in lines[token].pts_m],
            'labels': np.asarray(lines[token].labels).tolist(),
            'scores': np.asarray(lines[token].scores, dtype=np.float64).round(6).tolist(),
        }
        for token in sorted(lines)
    }
    return {'meta': meta | {'map_classes': list(classes)}, 'results': results}


def write_map_results(
    path: str | os.PathLike[str], lines: Mapping[str, MapLines], classes: Sequence[str]
) -> None:
    """Write a result file atomically; arguments as in :func:`map_results`."""
    write_json(path, map_results(lines, classes))


def read_map_results(
    path: str | os.PathLike[str], classes: Sequence[str] | None = None
) -> dict[str, MapLines]:
    """Read a result file.

    Args:
        path: The file.
        classes: The classes that the labels must mean; unchecked by default.

    Returns:
        Token to its lines, lidar frame.

    Raises:
        ValueError: Another schema, frame, or list of classes, or a broken sample; the message says
            which.
    """
    content = read_json(path)
    _check_meta(content, path, classes)
    num_classes = len(content['meta']['map_classes'])
    return {
        token: _lines(result, num_classes, f"{path}: results['{token}']")
        for token, result in content['results'].items()
    }


def _lines(result: Any, num_classes: int, where: str) -> MapLines:
    """The lines of one sample of a file, checked."""
    missing = {'pts_m', 'labels', 'scores'} - set(result if isinstance(result, dict) else ())
    if missing:
        raise ValueError(f'{where}: no field {sorted(missing)}')
    labels = _numbers(result['labels'], f'{where}: labels')
    if labels.ndim != 1 or (labels != np.rint(labels)).any():
        raise ValueError(f'{where}: labels must be a list of whole numbers')
    scores = _numbers(result['scores'], f'{where}: scores')
    if scores.ndim != 1:
        raise ValueError(f'{where}: scores must be a list of numbers, got shape {scores.shape}')
    pts = [_numbers(p, f'{where}: pts_m[{k}]') for k, p in enumerate(result['pts_m'])]
    lines = MapLines(pts, labels.astype(np.int64), scores)
    check_lines(lines, num_classes, where)
    return lines


def _numbers(values: Any, where: str) -> NDArray[np.float64]:
    """A list of numbers, or of lists of equal length, as an array."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{where}: not numbers in a regular shape ({error})') from error


def _check_meta(content: Any, path: str | os.PathLike[str], classes: Sequence[str] | None) -> None:
    """Refuse a file that is not what its reader takes it for."""
    meta = content.get('meta') if isinstance(content, dict) else None
    if not isinstance(meta, dict) or not isinstance(content.get('results'), dict):
        raise ValueError(f"{path}: no 'meta' and 'results'; expected a {SCHEMA} file")
    if meta.get('schema') != SCHEMA or meta.get('schema_version') != SCHEMA_VERSION:
        raise ValueError(
            f'{path}: meta.schema is {meta.get("schema")!r} version {meta.get("schema_version")!r},'
            f' expected {SCHEMA!r} version {SCHEMA_VERSION}'
        )
    if meta.get('frame') != 'lidar':
        raise ValueError(
            f"{path}: meta.frame is {meta.get('frame')!r}, but the ground truth is in the 'lidar'"
            ' frame (x right, y forward); transform the predictions and set meta.frame'
        )
    if not isinstance(meta.get('map_classes'), list):
        raise ValueError(f'{path}: meta.map_classes must list the names that the labels mean')
    if classes is not None and meta['map_classes'] != list(classes):
        raise ValueError(
            f'{path}: meta.map_classes is {meta["map_classes"]}, expected {list(classes)};'
            ' the labels would mean other classes'
        )


def check_lines(lines: MapLines, num_classes: int, where: str) -> None:
    """Check that the lines of a sample can be judged.

    Args:
        lines: Lines of one sample.
        num_classes: Number of classes C.
        where: Named in the errors.

    Raises:
        ValueError: The fields do not fit each other, a line is not (P, 2) with P >= 2, a label is
            no class, or something is not finite.
    """
    if not len(lines.pts_m) == len(lines.labels) == len(lines.scores):
        sizes = [len(lines.pts_m), len(lines.labels), len(lines.scores)]
        raise ValueError(f'{where}: numbers of lines, labels and scores differ: {sizes}')
    if not len(lines.pts_m):
        return
    for k, pts in enumerate(lines.pts_m):
        if pts.ndim != 2 or pts.shape[1] != 2 or len(pts) < 2:
            raise ValueError(
                f'{where}: pts_m[{k}] has shape {pts.shape}, expected (P, 2) with P >= 2: x and y'
                ' of each point'
            )
    low, high = int(np.min(lines.labels)), int(np.max(lines.labels))
    if low < 0 or high >= num_classes:
        wrong = low if low < 0 else high
        raise ValueError(
            f'{where}: label {wrong} is no class; the {num_classes} classes are 0 to'
            f' {num_classes - 1}'
        )
    if not (np.isfinite(np.concatenate(lines.pts_m)).all() and np.isfinite(lines.scores).all()):
        raise ValueError(
            f'{where}: coordinates or scores are NaN or infinite; has the training diverged?'
        )


def ground_truth_lines(
    data_list: Iterable[Mapping[str, Any]], classes: Sequence[str], source: str = 'info file'
) -> dict[str, MapLines]:
    """True maps of the samples of an info file.

    Args:
        data_list: Samples with ``token`` and ``map_vectors`` (class to polylines, lidar frame,
            metres).
        classes: The classes to take; a label is an index into them.
        source: Name of the file, for messages.

    Returns:
        Token to its lines, scores 1.

    Raises:
        ValueError: A sample whose map is unknown, or which lacks a class.
    """
    out = {}
    for sample in data_list:
        vectors = sample['map_vectors']
        if vectors is None:
            raise ValueError(
                f'{source}: sample {sample["token"]} has no map (map_vectors is None), so it'
                ' cannot be judged; convert the data set with its map expansion'
            )
        unknown = [name for name in classes if name not in vectors]
        if unknown:
            raise ValueError(f'{source}: sample {sample["token"]} has no map class {unknown}')
        pts = [line for name in classes for line in vectors[name]]
        labels = np.repeat(np.arange(len(classes)), [len(vectors[name]) for name in classes])
        out[sample['token']] = MapLines(pts, labels, np.ones(len(pts)))
    return out
