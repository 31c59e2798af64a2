# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Vector maps of a data set as a file, and their score.

Format: ``{'meta': {'schema': 'nexusflow-map', 'schema_version': 1, 'frame': 'lidar',
'map_classes': [...]}, 'results': {token: {'pts_m': [[[x, y], ...], ...], 'labels': [...],
'scores': [...]}}}``; metres, LIDAR_TOP frame (x right, y forward). A sample without a prediction
is a key with empty lists.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .chamfer_ap import MODES, ApTable, ChamferMode, MapLines, match_sample, score_matches
from .files import read_json, write_json

__all__ = [
    'SCHEMA',
    'evaluate_map',
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
    out = {}
    for token, result in content['results'].items():
        where = f"{path}: results['{token}']"
        missing = {'pts_m', 'labels', 'scores'} - set(result)
        if missing:
            raise ValueError(f'{where}: no field {sorted(missing)}')
        out[token] = MapLines(
            [np.asarray(pts, dtype=np.float64).reshape(-1, 2) for pts in result['pts_m']],
            np.asarray(result['labels'], dtype=np.int64),
            np.asarray(result['scores'], dtype=np.float64),
        )
        _check_lines(out[token], where)
    return out


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
    if classes is not None and list(meta.get('map_classes', [])) != list(classes):
        raise ValueError(
            f'{path}: meta.map_classes is {meta.get("map_classes")}, expected {list(classes)};'
            ' the labels would mean other classes'
        )


def _check_lines(lines: MapLines, where: str) -> None:
    """Raise ``ValueError`` unless the fields fit each other and are finite."""
    if not len(lines.pts_m) == len(lines.labels) == len(lines.scores):
        sizes = [len(lines.pts_m), len(lines.labels), len(lines.scores)]
        raise ValueError(f'{where}: numbers of lines, labels and scores differ: {sizes}')
    finite = all(np.isfinite(pts).all() for pts in lines.pts_m)
    if not finite or not np.isfinite(lines.scores).all():
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


def evaluate_map(
    predictions: Mapping[str, MapLines],
    ground_truth: Mapping[str, MapLines],
    classes: Sequence[str],
    mode: str | ChamferMode = 'maptr',
    locations: Mapping[str, str] | None = None,
) -> dict[str, ApTable]:
    """Chamfer AP of a data set, whole and per location.

    Args:
        predictions: Token to predicted lines, lidar frame; tokens without ground truth are an
            error.
        ground_truth: Token to true lines, lidar frame.
        classes: Class names.
        mode: A key of ``MODES`` or a mode.
        locations: Token to location; without it only the whole is scored.

    Returns:
        ``'all'`` and each location to its table.

    Raises:
        ValueError: Samples are missing or unknown, the mode is unknown, a prediction is not finite.
    """
    if isinstance(mode, str):
        if mode not in MODES:
            raise ValueError(f'unknown map evaluation mode {mode!r}; known: {sorted(MODES)}')
        mode = MODES[mode]
    for wrong, text in (
        (
            set(ground_truth) - set(predictions),
            'without a prediction (an empty one must be given too)',
        ),
        (set(predictions) - set(ground_truth), 'predicted, but not in the ground truth'),
    ):
        if wrong:
            raise ValueError(f'{len(wrong)} samples {text}, e.g. {min(wrong)}')
    matches = {}
    for token, true in ground_truth.items():
        _check_lines(predictions[token], f'prediction of sample {token}')
        matches[token] = match_sample(predictions[token], true, len(classes), mode)
    out = {'all': score_matches(matches, classes, mode)}
    places = locations or {}
    for location in sorted(set(places.values())):
        tokens = [token for token in ground_truth if places[token] == location]
        out[location] = score_matches(matches, classes, mode, tokens)
    return out
