# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Which scenes belong to which split of a version."""

from __future__ import annotations

import json
from pathlib import Path

_OFFICIAL = {
    'v1.0-trainval': ('train', 'val'),
    'v1.0-mini': ('mini_train', 'mini_val'),
    'v1.0-test': ('test',),
}


def splits_of(root: Path, version: str) -> dict[str, list[str]]:
    """Scene names of each split that gets an info file.

    The official versions have the devkit's splits. Any other version needs
    ``<version>/splits.json``; a split that is part of another one (``world_val_boston`` of
    ``world_val``) gets no file of its own: it is a selection at evaluation.

    Args:
        root: Data root.
        version: Folder of the tables.

    Returns:
        Split name -> sorted scene names.

    Raises:
        FileNotFoundError: ``splits.json`` is missing.
        ValueError: It is not a JSON object of lists.
    """
    if version in _OFFICIAL:
        return _official_splits(root, version)
    path = root / version / 'splits.json'
    if not path.is_file():
        raise FileNotFoundError(
            f'{path} is missing: a version other than {", ".join(_OFFICIAL)} needs it, '
            'as {"split": ["scene name", ...]}'
        )
    try:
        splits = {str(k): sorted(map(str, v)) for k, v in json.loads(path.read_text()).items()}
    except (ValueError, AttributeError, TypeError) as e:
        raise ValueError(f'{path}: expected {{"split": ["scene name", ...]}}, got {e}') from e
    return {name: scenes for name, scenes in splits.items() if not _is_part(name, splits)}


def _is_part(name: str, splits: dict[str, list[str]]) -> bool:
    """Whether a split lies in another one; of equal ones the first counts."""
    own, names = set(splits[name]), list(splits)
    for other, scenes in splits.items():
        if other == name or not own <= set(scenes):
            continue
        if own < set(scenes) or names.index(other) < names.index(name):
            return True
    return False


def _official_splits(root: Path, version: str) -> dict[str, list[str]]:
    """The devkit's splits, as far as the scenes are in the tables."""
    from nuscenes.utils.splits import create_splits_scenes

    scenes = create_splits_scenes()
    path = root / version / 'scene.json'
    if not path.is_file():
        raise FileNotFoundError(f'table {path} is missing: unpack the metadata archive again')
    present = {s['name'] for s in json.loads(path.read_text())}
    splits = {name: sorted(present & set(scenes[name])) for name in _OFFICIAL[version]}
    empty = [name for name, members in splits.items() if not members]
    if empty:
        raise ValueError(f"{path}: it has no scene of the split '{empty[0]}' of {version}")
    return splits
