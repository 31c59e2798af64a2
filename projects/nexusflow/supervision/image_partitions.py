# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Partitions of single images, as in MTPSL (Li et al., CVPR 2022) and JTR (Nishi et al., CVPR 2024).

*One label*: each image is labelled for one of K tasks. *Random labels*: for 1 to K - 1 of them. The
published partitions are tables (``FromTable``); the generators follow the same marginals: one label
splits the images into equal parts (265, 265, 265 of 795), random labels draws for each image one of the
2^K - 2 sets of tasks that are neither empty nor complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from nexusflow.supervision.partition import TASKS, Rule, SampleKey, build_rule, uniform
from nexusflow.supervision.tables import PUBLISHED_COLUMNS, read_table

__all__ = ['FromTable', 'OneLabel', 'RandomLabels', 'SingleTask']

#: What published tables call a task.
_COLUMN_OF = {'segmentation': 'semantic'}


class FromTable(Rule):
    """Labels from a table with a row per image, in the order of the images.

    Args:
        path: A .csv, .json or .pth file; see ``tables.py``.
        columns: Names of the columns of a .pth file.
        tasks: Names of all tasks of the experiment. The column of a task has its name; that of
            'segmentation' may be called 'semantic'.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not such a table, or its columns are not the tasks.
    """

    def __init__(
        self,
        path: str | Path,
        columns: Sequence[str] = PUBLISHED_COLUMNS,
        tasks: Sequence[str] = TASKS,
    ) -> None:
        super().__init__(tasks)
        self.path = Path(path)
        rows = read_table(path, columns)
        self.table = [self._labelled(row, i) for i, row in enumerate(rows)]

    def assign(self, samples: Sequence[SampleKey]) -> list[tuple[str, ...]]:
        """See the base class; the table must have a row for each sample, and no more."""
        if len(samples) != len(self.table):
            raise ValueError(
                f"{self}: file '{self.path}' has {len(self.table)} rows, the data set has "
                f'{len(samples)} images; take the table that was made for this split'
            )
        return super().assign(samples)

    def labels_of(self, sample: SampleKey) -> frozenset[str]:
        """The row of the image, whose token is its number."""
        if not sample.token.isdecimal() or int(sample.token) >= len(self.table):
            raise ValueError(
                f"{self}: file '{self.path}' has no row for sample '{sample.token}'; this rule is "
                'for data sets with numbered images'
            )
        return self.table[int(sample.token)]

    def _labelled(self, row: Mapping[str, int], i: int) -> frozenset[str]:
        """The tasks with a 1; the row must have a column for each task."""
        columns = {task: task if task in row else _COLUMN_OF.get(task, task) for task in self.tasks}
        unknown = sorted(set(row) - set(columns.values()))
        if unknown:
            raise ValueError(
                f"{self}: file '{self.path}', row {i}: column '{unknown[0]}' is no task; the tasks "
                f'are {list(self.tasks)}'
            )
        for task, column in columns.items():
            if column not in row:
                raise ValueError(
                    f"{self}: file '{self.path}', row {i}: no column '{column}' for task '{task}'"
                )
        return frozenset(task for task, column in columns.items() if row[column])


class OneLabel(Rule):
    """One task for each sample; every task gets an equal part of the samples (or one more).

    The samples are put into an order that depends on the seed and their tokens only, and dealt out.

    Args:
        seed: Another seed gives another partition.
        tasks: Names of all tasks of the experiment.
    """

    def __init__(self, seed: int = 0, tasks: Sequence[str] = TASKS) -> None:
        super().__init__(tasks)
        self.seed = seed
        self._dealt: dict[str, str] = {}

    def assign(self, samples: Sequence[SampleKey]) -> list[tuple[str, ...]]:
        """See the base class."""
        tokens = sorted({sample.token for sample in samples})
        tokens.sort(key=lambda token: uniform(self.seed, token, 'one label'))
        self._dealt = {token: self.tasks[i % len(self.tasks)] for i, token in enumerate(tokens)}
        return super().assign(samples)

    def labels_of(self, sample: SampleKey) -> frozenset[str]:
        """What the sample was dealt by the last ``assign``."""
        if sample.token not in self._dealt:
            raise ValueError(
                f"{self}: sample '{sample.token}' is new; call assign() with all samples"
            )
        return frozenset({self._dealt[sample.token]})


class RandomLabels(Rule):
    """For each sample at least one task and not all, every such set with the same chance.

    The choice depends on the seed and the sample's token only.

    Args:
        seed: Another seed gives another partition.
        tasks: Names of all tasks of the experiment, at least two.

    Raises:
        ValueError: If there is one task only.
    """

    def __init__(self, seed: int = 0, tasks: Sequence[str] = TASKS) -> None:
        super().__init__(tasks)
        if len(self.tasks) < 2:
            raise ValueError(f'{self}: needs two tasks at least, got {list(self.tasks)}')
        self.seed = seed
        flags = list(product((False, True), repeat=len(self.tasks)))[1:-1]
        self._sets = [
            frozenset(task for task, on in zip(self.tasks, row, strict=True) if on) for row in flags
        ]

    def labels_of(self, sample: SampleKey) -> frozenset[str]:
        """Drawn for the sample."""
        place = uniform(self.seed, sample.token, 'random labels')
        return self._sets[int(place * len(self._sets))]


class SingleTask(Rule):
    """What another rule labels for one task, and nothing else: a single-task baseline of that rule.

    Args:
        task: The task that keeps its labels.
        of: The other rule, or its configuration; none: full supervision.
        tasks: Names of all tasks of the experiment.

    Raises:
        ValueError: If the task is unknown.
    """

    def __init__(
        self,
        task: str,
        of: Rule | Mapping[str, Any] | None = None,
        tasks: Sequence[str] = TASKS,
    ) -> None:
        super().__init__(tasks)
        self.check_tasks([task], "'task'")
        self.of = of if isinstance(of, Rule) else build_rule(of, tasks)
        # Only this task must have labels.
        self.tasks = (task,)

    def assign(self, samples: Sequence[SampleKey]) -> list[tuple[str, ...]]:
        """See the base class; what the other rule checks is checked too."""
        self.of.assign(samples)
        return super().assign(samples)

    def labels_of(self, sample: SampleKey) -> frozenset[str]:
        """The task, where the other rule labels it."""
        return self.of.labels_of(sample) & frozenset(self.tasks)
