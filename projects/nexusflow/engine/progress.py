# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""How far commands have come, read from what they print, and how long they will still take."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# '[ 20/600]' of mmengine's logs; '| 12/80 [00:03' of tqdm.
_COUNTS = re.compile(r'\[ *(\d+)/(\d+) *\]|\| *(\d+)/(\d+) \[')


def fraction_in(line: str) -> float | None:
    """The progress that a line of output tells of, in [0, 1]; None if it tells of none.

    Example:
        >>> fraction_in('Iter(train) [ 20/80]  lr: 1e-3  eta: 0:00:30')
        0.25
        >>> fraction_in('samples:  50%|#####     | 12/24 [00:03<00:03,  4.00it/s]')
        0.5
    """
    found = _COUNTS.search(line)
    if found is None:
        return None
    done, total = (int(text) for text in found.groups() if text is not None)
    return min(done / total, 1.0) if total > 0 else None


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds.

    Example:
        >>> clock(125.4)
        '2:05'
    """
    minutes, rest = divmod(max(round(seconds), 0), 60)
    return f'{minutes}:{rest:02d}'


@dataclass
class Task:
    """One of several pieces of work.

    Attributes:
        kind: Tasks of one kind take about the same time.
        planned_s: How long it takes, by guess.
        started: ``time.monotonic()`` when it began; None before.
        took_s: How long it took; None before its end, 0 if there was nothing to do.
        fraction: How far it has come.
    """

    kind: str
    planned_s: float
    started: float | None = None
    took_s: float | None = None
    fraction: float = 0.0

    def finish(self) -> None:
        """Stop its clock."""
        self.took_s = 0.0 if self.started is None else time.monotonic() - self.started


@dataclass
class Estimate:
    """Overall progress of tasks of which some run at the same time.

    Attributes:
        tasks: By name, in order.
        jobs: How many run at the same time.
    """

    tasks: Mapping[str, Task]
    jobs: int = 1
    started: float = field(default_factory=time.monotonic)

    def expected_s(self, task: Task) -> float:
        """How long a task takes: as those of its kind took, else as planned, scaled as the rest."""
        ended = [t for t in self.tasks.values() if t.took_s]
        alike = [t.took_s for t in ended if t.kind == task.kind and t.took_s]
        if alike:
            return sum(alike) / len(alike)
        took, planned = sum(t.took_s or 0.0 for t in ended), sum(t.planned_s for t in ended)
        return task.planned_s * (took / planned if planned else 1.0)

    def left_s(self) -> float:
        """Seconds until all tasks are done."""
        rest = [self._left_of(task) for task in self.tasks.values() if task.took_s is None]
        return max(sum(rest) / self.jobs, max(rest, default=0.0))

    def _left_of(self, task: Task) -> float:
        expected = self.expected_s(task)
        if task.started is None:
            return expected
        passed = time.monotonic() - task.started
        if task.fraction < 0.05:
            return max(expected - passed, 0.25 * passed)
        # What a command counts is not all of its work.
        fraction = min(task.fraction, 0.95)
        return passed * (1.0 - fraction) / fraction

    def line(self) -> str:
        """One line: per cent, what runs, time passed and left."""
        passed, left = time.monotonic() - self.started, self.left_s()
        running = [
            f'{name} {task.fraction:.0%}'
            for name, task in self.tasks.items()
            if task.started is not None and task.took_s is None
        ]
        share = passed / (passed + left) if passed + left > 0 else 1.0
        return f'[{share:4.0%}] {", ".join(running)} | {clock(passed)} passed, {clock(left)} left'


def show_line(line: str) -> None:
    """Write a line that replaces the one before on a terminal, and follows it elsewhere."""
    sys.stdout.write(f'\r\033[K{line}' if sys.stdout.isatty() else f'{line}\n')
    sys.stdout.flush()


def last_lines(lines: Sequence[str], count: int = 20) -> str:
    """The end of an output, for an error message."""
    return '\n'.join(line for line in lines[-count:] if line.strip())
