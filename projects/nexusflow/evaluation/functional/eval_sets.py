# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Which scenes an eval set names: the devkit's predefined splits, or ``<version>/splits.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nexusflow.datasets.nuscenes_splits import VERSION_OF_SPLIT
from nexusflow.datasets.nuscenes_tables import check_version

from .files import read_json

__all__ = ['DEVKIT', 'check_eval_set', 'parts_of_eval_set', 'scenes_of_eval_set']

DEVKIT = 'nuscenes-devkit>=1.2,<2'
_TABLES = (
    'scene',
    'sample',
    'sample_data',
    'sample_annotation',
    'ego_pose',
    'calibrated_sensor',
    'sensor',
    'instance',
    'category',
)
"""What the fast evaluation of tracks reads, see ``tracking_truth.py``."""


def check_eval_set(data_root: str | Path, version: str, eval_set: str) -> None:
    """Check cheaply, at the start of a run, that an eval set and the tables to judge it by exist.

    Raises:
        FileNotFoundError: The version, or a table of it, is missing.
        ValueError: The eval set is neither in ``<data_root>/<version>/splits.json`` nor predefined for
            this version.
    """
    _check_name(data_root, version, eval_set)
    check_version(Path(data_root), version)
    for name in _TABLES:
        path = Path(data_root) / version / f'{name}.json'
        if not path.is_file():
            raise FileNotFoundError(
                f'table {path} is missing, eval set {eval_set!r} is judged by it: unpack the metadata archive again'
            )


def scenes_of_eval_set(data_root: str | Path, version: str, eval_set: str) -> list[str]:
    """Names of the scenes of an eval set; a predefined split may name scenes without tables.

    Raises:
        ImportError: The split is predefined, and the devkit, which knows its scenes, is missing.
        ValueError: There is no such eval set.
    """
    _check_name(data_root, version, eval_set)
    if eval_set not in VERSION_OF_SPLIT:
        return _custom_scenes(data_root, version, eval_set)
    try:
        from nuscenes.utils.splits import create_splits_scenes
    except ImportError as error:
        raise ImportError(
            f"the scenes of split {eval_set!r} are listed in the devkit: pip install '{DEVKIT}'"
        ) from error
    return list(create_splits_scenes()[eval_set])


def parts_of_eval_set(data_root: str | Path, version: str, eval_set: str) -> dict[str, str]:
    """The custom splits that lie within an eval set, for example its cities.

    Returns:
        Short name to eval set: ``{'boston': 'world_val_boston'}`` of ``'world_val'``; a split that
        is not named after the eval set keeps its whole name.
    """
    whole = set(scenes_of_eval_set(data_root, version, eval_set))
    splits = _splits(data_root, version)
    parts = [name for name, scenes in splits.items() if scenes and set(scenes) < whole]
    return {name.removeprefix(f'{eval_set}_'): name for name in sorted(parts)}


def _check_name(data_root: str | Path, version: str, eval_set: str) -> None:
    """Refuse an eval set that is neither custom nor predefined for the version."""
    suffix = VERSION_OF_SPLIT.get(eval_set)
    if suffix is None:
        _custom_scenes(data_root, version, eval_set)
    elif not version.endswith(suffix):
        known = sorted(_splits(data_root, version).keys() - VERSION_OF_SPLIT)
        raise ValueError(
            f'eval set {eval_set!r} belongs to versions that end with {suffix!r}, not to'
            f' {version!r}; name another version, or one of {known}'
        )


def _splits(data_root: str | Path, version: str) -> dict[str, Any]:
    """Content of ``splits.json``; empty when there is no such file."""
    path = Path(data_root) / version / 'splits.json'
    return dict(read_json(path)) if path.is_file() else {}


def _custom_scenes(data_root: str | Path, version: str, eval_set: str) -> list[str]:
    """Scenes of a key of ``splits.json``."""
    splits = _splits(data_root, version)
    if eval_set not in splits:
        path = Path(data_root) / version / 'splits.json'
        raise ValueError(
            f'{path}: no eval set {eval_set!r}; it holds {sorted(splits)}. Name one of those, a'
            ' predefined split (val, mini_val ...), or add the list of scene names to the file'
        )
    return [str(name) for name in splits[eval_set]]
