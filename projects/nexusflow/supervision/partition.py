# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Which sample is labelled for which task: rules that read only a sample's names, never its labels.

Every sample of a data set has its full labels on disk; a rule says which of them training may use.
Rules are plain dictionaries in a configuration, ``dict(type='ByLocation', map=['boston-*'], ...)``.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    'RULES',
    'ByLocation',
    'FromFile',
    'Full',
    'Random',
    'Rule',
    'SampleKey',
    'Swapped',
    'build_rule',
    'uniform',
]

TASKS = ('map', 'track')


class SampleKey(NamedTuple):
    """What a rule may know of a sample."""

    token: str
    scene_name: str
    location: str


def uniform(seed: int, unit: str, purpose: str) -> float:
    """A number in [0, 1) that depends on the seed and the names only, on every machine."""
    digest = hashlib.sha256(f'{seed}/{unit}/{purpose}'.encode()).digest()
    return int.from_bytes(digest[:6], 'big') / 2.0**48


class Rule(ABC):
    """Gives each sample its labelled tasks.

    Args:
        tasks: Names of all tasks of the experiment.
    """

    def __init__(self, tasks: Sequence[str] = TASKS) -> None:
        self.tasks = tuple(tasks)

    def assign(self, samples: Sequence[SampleKey]) -> list[tuple[str, ...]]:
        """The labelled tasks of each sample, in the order of ``tasks``.

        Raises:
            ValueError: If the rule does not fit the samples, or labels none of them for a task.
        """
        labels = [self.labels_of(sample) for sample in samples]
        for task in self.tasks:
            if not any(task in of_sample for of_sample in labels):
                raise ValueError(
                    f"{self}: labels none of the {len(samples)} samples for task '{task}'; change "
                    "the rule, or leave the task out of the data set's 'tasks'"
                )
        return [tuple(task for task in self.tasks if task in of_sample) for of_sample in labels]

    @abstractmethod
    def labels_of(self, sample: SampleKey) -> frozenset[str]:
        """The labelled tasks of one sample."""

    def check_tasks(self, names: Sequence[str], field: str) -> None:
        """Refuse names that are no tasks.

        Raises:
            ValueError: If one of ``names`` is not a task; ``field`` says where it was found.
        """
        for name in names:
            if name not in self.tasks:
                raise ValueError(
                    f"{self}: unknown task '{name}' in {field}; the tasks are {list(self.tasks)}"
                )

    def __str__(self) -> str:
        return f'supervision rule {type(self).__name__}'


class Full(Rule):
    """Every sample is labelled for every task: the upper bound of a comparison."""

    def labels_of(self, sample: SampleKey) -> frozenset[str]:
        """All tasks."""
        return frozenset(self.tasks)


class ByLocation(Rule):
    """Labels follow the place where a sample was taken, as in the paper.

    Args:
        tasks: Names of all tasks of the experiment.
        **patterns: For each task the locations that are labelled for it, as shell patterns.

    Raises:
        ValueError: If patterns are given for an unknown task.

    Example:
        >>> rule = ByLocation(map=['boston-*'], track=['singapore-*'])
        >>> boston = SampleKey('a', 's1', 'boston-seaport')
        >>> rule.assign([boston, SampleKey('b', 's2', 'singapore-onenorth')])
        [('map',), ('track',)]
    """

    def __init__(self, tasks: Sequence[str] = TASKS, **patterns: str | Sequence[str]) -> None:
        super().__init__(tasks)
        self.check_tasks(list(patterns), 'its arguments')
        self.patterns = {
            task: [given] if isinstance(given, str) else list(given)
            for task, given in patterns.items()
        }

    def assign(self, samples: Sequence[SampleKey]) -> list[tuple[str, ...]]:
        """See the base class; a pattern that fits no sample's location is an error as well."""
        locations = sorted({sample.location for sample in samples})
        for task, patterns in self.patterns.items():
            for pattern in patterns:
                if not any(fnmatchcase(location, pattern) for location in locations):
                    raise ValueError(
                        f"{self}, task '{task}': '{pattern}' fits no location of the data set; "
                        f'its locations are {locations}'
                    )
        return super().assign(samples)

    def labels_of(self, sample: SampleKey) -> frozenset[str]:
        """The tasks with a pattern that fits the sample's location."""
        return frozenset(
            task
            for task, patterns in self.patterns.items()
            if any(fnmatchcase(sample.location, pattern) for pattern in patterns)
        )


class Swapped(Rule):
    """Another rule with its tasks exchanged: each task gets the samples of the task before it.

    Args:
        of: The other rule, or its configuration.
        tasks: Names of all tasks of the experiment.
    """

    def __init__(self, of: Rule | Mapping[str, Any], tasks: Sequence[str] = TASKS) -> None:
        super().__init__(tasks)
        self.of = of if isinstance(of, Rule) else build_rule(of, tasks)
        self.successor = dict(zip(self.tasks, self.tasks[1:] + self.tasks[:1], strict=True))

    def assign(self, samples: Sequence[SampleKey]) -> list[tuple[str, ...]]:
        """See the base class; what the other rule checks is checked too."""
        self.of.assign(samples)
        return super().assign(samples)

    def labels_of(self, sample: SampleKey) -> frozenset[str]:
        """The successors of the other rule's tasks."""
        return frozenset(self.successor[task] for task in self.of.labels_of(sample))


class Random(Rule):
    """Labels at random, and independent of the domain.

    The choice depends on the seed and on the name only, so that a scene keeps its labels in every
    subset and on every machine.

    Args:
        seed: Another seed gives another partition.
        per: 'scene' or 'sample': what is labelled alike.
        probs: For each task the probability of being labelled, independent of the other tasks. If
            not given, each scene or sample is labelled for exactly one task.
        tasks: Names of all tasks of the experiment.

    Raises:
        ValueError: If ``per`` or a probability is out of range, or a task is unknown.
    """

    def __init__(
        self,
        seed: int = 0,
        per: str = 'scene',
        probs: Mapping[str, float] | None = None,
        tasks: Sequence[str] = TASKS,
    ) -> None:
        super().__init__(tasks)
        if per not in ('scene', 'sample'):
            raise ValueError(f"{self}: 'per' must be 'scene' or 'sample', got {per!r}")
        self.check_tasks(list(probs or ()), "'probs'")
        for task, prob in (probs or {}).items():
            if not 0.0 <= prob <= 1.0:
                raise ValueError(f"{self}: 'probs' of task '{task}' must be in [0, 1], got {prob}")
        self.seed, self.per, self.probs = seed, per, probs

    def labels_of(self, sample: SampleKey) -> frozenset[str]:
        """Drawn for the sample's scene, or for itself."""
        unit = sample.scene_name if self.per == 'scene' else sample.token
        if self.probs is None:
            return frozenset({self.tasks[int(uniform(self.seed, unit, '') * len(self.tasks))]})
        return frozenset(
            task for task, prob in self.probs.items() if uniform(self.seed, unit, task) < prob
        )


class FromFile(Rule):
    """Labels listed in a JSON file: ``{"<sample token or scene name>": ["map"], ...}``.

    A sample's token goes before its scene's name. An empty list means: no labels.

    Args:
        path: The file.
        tasks: Names of all tasks of the experiment.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not such a file, or names an unknown task.
    """

    def __init__(self, path: str | Path, tasks: Sequence[str] = TASKS) -> None:
        super().__init__(tasks)
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self}: file '{path}' does not exist; correct 'path'")
        try:
            table = json.loads(self.path.read_text(encoding='utf-8'))
        except ValueError as error:
            raise ValueError(f"{self}: file '{path}' is not JSON: {error}") from error
        if not isinstance(table, dict) or not all(isinstance(v, list) for v in table.values()):
            raise ValueError(
                f"{self}: file '{path}' must hold an object of lists of task names, "
                'like {"scene-0001": ["map"]}'
            )
        for name, names in table.items():
            self.check_tasks(names, f"'{name}' of file '{path}'")
        self.table = {name: frozenset(names) for name, names in table.items()}

    def labels_of(self, sample: SampleKey) -> frozenset[str]:
        """The line of the sample, or of its scene."""
        for name in (sample.token, sample.scene_name):
            if name in self.table:
                return self.table[name]
        raise ValueError(
            f"{self}: file '{self.path}' says nothing of sample '{sample.token}' nor of its scene "
            f"'{sample.scene_name}'; add one of them (an empty list means: no labels)"
        )


RULES: dict[str, type[Rule]] = {
    rule.__name__: rule for rule in (ByLocation, FromFile, Full, Random, Swapped)
}


def build_rule(cfg: Mapping[str, Any] | None, tasks: Sequence[str] = TASKS) -> Rule:
    """A rule from its configuration; none means full supervision.

    Args:
        cfg: ``type``, a key of ``RULES``, and the rule's arguments.
        tasks: Names of all tasks of the experiment.

    Raises:
        ValueError: If the type or an argument is unknown, or the rule refuses its arguments.
    """
    args = dict(cfg or {'type': 'Full'})
    kind = args.pop('type', None)
    if kind not in RULES:
        raise ValueError(f'supervision: unknown rule type {kind!r}; choose from {sorted(RULES)}')
    try:
        return RULES[kind](tasks=tasks, **args)
    except TypeError as error:
        raise ValueError(f'supervision rule {kind}: wrong arguments {args}: {error}') from error
