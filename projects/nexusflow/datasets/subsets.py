# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Named subsets of samples: by scene name, by sample token or by city.

A source of subsets is a text:

- ``city:boston-*,singapore-onenorth``: samples of the locations that fit one of the patterns;
- ``FILE``: a JSON list, or a text file with a line each, of scene names and sample tokens (``#``
  starts a comment); or a JSON object ``{"train": [...], "val": [...]}`` of several such lists;
- ``FILE#val``: one list of such an object.

Known splits in these forms: the geographically disjoint one of Roddick and Cipolla as used by
StreamMapNet (scene names), Lilja et al.'s Near (sample tokens) and Far (cities), arXiv 2312.06420.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from nexusflow.supervision.partition import SampleKey

__all__ = ['Subset', 'read_subsets', 'sample_key', 'select_samples']

_CITY = 'city:'


@dataclass(frozen=True)
class Subset:
    """Which samples belong.

    Attributes:
        source: Where this is from, for messages.
        names: Scene names and sample tokens.
        cities: Shell patterns of locations.
    """

    source: str
    names: frozenset[str] = frozenset()
    cities: tuple[str, ...] = ()

    def holds(self, key: SampleKey) -> bool:
        """Whether a sample belongs."""
        named = key.token in self.names or key.scene_name in self.names
        return named or any(fnmatchcase(key.location, pattern) for pattern in self.cities)

    def select(
        self, keys: Sequence[SampleKey], where: str, allow_missing: bool = False
    ) -> list[bool]:
        """Which samples belong, with a look at what the subset names in vain.

        Args:
            keys: All samples.
            where: What they are, for messages.
            allow_missing: Whether names and patterns may fit no sample.

        Returns:
            A flag per sample.

        Raises:
            ValueError: A name or a pattern fits no sample, or nothing is left.
        """
        known = {name for key in keys for name in (key.token, key.scene_name)}
        places = {key.location for key in keys}
        missing = sorted(self.names - known)
        missing += [p for p in self.cities if not any(fnmatchcase(place, p) for place in places)]
        flags = [self.holds(key) for key in keys]
        if (missing and not allow_missing) or not any(flags):
            found = f'; its locations are {sorted(places)}' if self.cities else ''
            raise ValueError(
                f'{self.source}: {len(missing)} of {len(self.names) + len(self.cities)} entries'
                f' are neither a scene nor a sample nor a location of {where}, e.g.'
                f" '{missing[0] if missing else ''}'{found}; take the version that they were made"
                ' for, or leave them out'
            )
        return flags


def read_subsets(source: str, name: str | None = None) -> dict[str, Subset]:
    """The subsets of a source.

    Args:
        source: See the module's text.
        name: Name of the subset; by default the key of the list, or the file's name without its
            ending.

    Returns:
        Name to subset; several only for a whole JSON object.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not such a file, has no such list, or a name is missing or one too much.
    """
    if source.startswith(_CITY):
        if name is None:
            raise ValueError(f"'{source}' needs a name, as in val={source}")
        return {name: Subset(source, cities=tuple(source[len(_CITY) :].split(',')))}
    file, _, key = source.partition('#')
    lists = _read_lists(Path(file))
    if key:
        if key not in lists:
            raise ValueError(f"{file}: it has no list '{key}'; it has {sorted(lists)}")
        lists = {key: lists[key]}
    if name is not None:
        if len(lists) > 1:
            raise ValueError(
                f"{file}: it has the lists {sorted(lists)}; choose one, as in '{file}#{min(lists)}'"
            )
        lists = {name: next(iter(lists.values()))}
    whole = not key and len(lists) > 1
    return {
        key: Subset(f'{file}#{key}' if whole else source, frozenset(names))
        for key, names in lists.items()
    }


def _read_lists(path: Path) -> dict[str, list[str]]:
    """The lists of a file; one list is named after the file."""
    if not path.is_file():
        raise FileNotFoundError(f'list of scenes or samples {path} is missing')
    text = path.read_text(encoding='utf-8')
    if path.suffix != '.json':
        lines = [line.split('#')[0].strip() for line in text.splitlines()]
        return {path.stem: [line for line in lines if line]}
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f'{path}: not a JSON file ({error})') from error
    lists = content if isinstance(content, dict) else {path.stem: content}
    for key, names in lists.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(
                f"{path}: '{key}' is no list of names; expected a list of scene names or sample"
                ' tokens, or an object of such lists'
            )
    return lists


def sample_key(sample: Mapping[str, Any]) -> SampleKey:
    """Names of a sample of an info file."""
    return SampleKey(sample['token'], sample['scene_name'], sample['location'])


def select_samples(
    samples: Sequence[Mapping[str, Any]], source: str | None, where: str
) -> list[Mapping[str, Any]]:
    """The samples of an info file that belong to a subset.

    Args:
        samples: Samples of an info file.
        source: See the module's text; one subset. None keeps all.
        where: Name of the info file, for messages.

    Returns:
        The samples, in the same order.

    Raises:
        FileNotFoundError: There is no such list.
        ValueError: The source is broken or means several subsets, or a name fits no sample.
    """
    if source is None:
        return list(samples)
    (subset,) = read_subsets(source, name='subset').values()
    flags = subset.select([sample_key(sample) for sample in samples], where)
    return [sample for sample, flag in zip(samples, flags, strict=True) if flag]
