# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Which scenes, and which of their samples, belong to which split of a version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nexusflow.datasets.nuscenes_tables import read_table
from nexusflow.datasets.subsets import Subset, read_subsets
from nexusflow.supervision.partition import SampleKey

_OFFICIAL = {
    'v1.0-trainval': ('train', 'val'),
    'v1.0-mini': ('mini_train', 'mini_val'),
    'v1.0-test': ('test',),
}

VERSION_OF_SPLIT = {
    'train': 'trainval',
    'val': 'trainval',
    'train_detect': 'trainval',
    'train_track': 'trainval',
    'test': 'test',
    'mini_train': 'mini',
    'mini_val': 'mini',
}
"""The devkit's splits and how the name of their version ends; a custom split cannot take their names."""

Split = Mapping[str, frozenset[str] | None]
"""Scene name -> the tokens of its samples that belong; None: all of them."""


@dataclass(frozen=True)
class SplitSpec:
    """Which splits are made.

    Attributes:
        sources: ``[NAME=]SOURCE`` each, see ``subsets.py``; without any, the version's own splits.
        allow_missing: Whether names in lists may be absent from the version.
    """

    sources: tuple[str, ...] = ()
    allow_missing: bool = False


def splits_of(root: Path, version: str, spec: SplitSpec | None = None) -> dict[str, Split]:
    """Scenes of each split that gets an info file.

    The official versions have the devkit's splits. Any other version needs
    ``<version>/splits.json``; a split that is part of another one (``world_val_boston`` of
    ``world_val``) gets no file of its own: it is a selection at evaluation. Sources replace both.

    Args:
        root: Data root.
        version: Folder of the tables.
        spec: Which splits; the version's own by default.

    Returns:
        Split name -> sorted scene names -> tokens of the samples, or None for the whole scene.

    Raises:
        FileNotFoundError: ``splits.json``, a list or a table is missing.
        ValueError: One of them is broken, or names what the version does not have.
    """
    if spec is not None and spec.sources:
        return _listed_splits(root, version, spec)
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
    kept = sorted(splits.keys() & VERSION_OF_SPLIT)
    if kept:
        raise ValueError(
            f"{path}: the devkit keeps the name '{kept[0]}' for its own split, and would not evaluate this one; "
            f"call it e.g. 'my_{kept[0]}'"
        )
    own = [name for name in splits if not _is_part(name, splits)]
    return {name: dict.fromkeys(splits[name]) for name in own}


def _listed_splits(root: Path, version: str, spec: SplitSpec) -> dict[str, Split]:
    """The splits of the sources."""
    subsets: dict[str, Subset] = {}
    for source in spec.sources:
        name, _, rest = source.rpartition('=')
        found = read_subsets(rest, name or None)
        twice = sorted(set(subsets) & set(found))
        if twice:
            raise ValueError(f"split '{twice[0]}' is given twice; name one of them NAME=SOURCE")
        subsets |= found
    keys = _sample_keys(root, version)
    return {
        name: _split(subset, keys, f'version {version}', spec.allow_missing)
        for name, subset in subsets.items()
    }


def _sample_keys(root: Path, version: str) -> list[SampleKey]:
    """Names of all samples of a version, sorted by scene."""
    folder = root / version
    places = {log['token']: log['location'] for log in read_table(folder, 'log')}
    scenes = {
        scene['token']: (scene['name'], places[scene['log_token']])
        for scene in read_table(folder, 'scene')
    }
    keys = [
        SampleKey(sample['token'], *scenes[sample['scene_token']])
        for sample in read_table(folder, 'sample')
    ]
    return sorted(keys, key=lambda key: (key.scene_name, key.token))


def _split(subset: Subset, keys: list[SampleKey], where: str, allow_missing: bool) -> Split:
    """Scenes of a subset, and where only a part of a scene belongs, its samples."""
    chosen: dict[str, set[str]] = {}
    partial = set()
    for key, flag in zip(keys, subset.select(keys, where, allow_missing), strict=True):
        if flag:
            chosen.setdefault(key.scene_name, set()).add(key.token)
        else:
            partial.add(key.scene_name)
    return {name: frozenset(tokens) if name in partial else None for name, tokens in chosen.items()}


def _is_part(name: str, splits: dict[str, list[str]]) -> bool:
    """Whether a split lies in another one; of equal ones the first counts."""
    own, names = set(splits[name]), list(splits)
    for other, scenes in splits.items():
        if other == name or not own <= set(scenes):
            continue
        if own < set(scenes) or names.index(other) < names.index(name):
            return True
    return False


def _official_splits(root: Path, version: str) -> dict[str, Split]:
    """The devkit's splits, as far as the scenes are in the tables."""
    from nuscenes.utils.splits import create_splits_scenes

    scenes = create_splits_scenes()
    present = {scene['name'] for scene in read_table(root / version, 'scene')}
    splits = {name: sorted(present & set(scenes[name])) for name in _OFFICIAL[version]}
    empty = [name for name, members in splits.items() if not members]
    if empty:
        path = root / version / 'scene.json'
        raise ValueError(f"{path}: it has no scene of the split '{empty[0]}' of {version}")
    return {name: dict.fromkeys(members) for name, members in splits.items()}
