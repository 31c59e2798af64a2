# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What a measured figure means: its unit and the bound that it is meant to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """Meaning of a measured value.

    Attributes:
        unit: Unit of the value.
        goal: Value to reach; None if there is none.
        more_is_better: Whether the goal is a lower bound.
    """

    unit: str = ''
    goal: float | None = None
    more_is_better: bool = True

    def met(self, value: float) -> bool | None:
        """Whether a value reaches the goal; None without a goal."""
        if self.goal is None:
            return None
        return value >= self.goal if self.more_is_better else value <= self.goal

    def line(self, name: str, value: float) -> str:
        """One line of the table."""
        bound = 'at least' if self.more_is_better else 'at most'
        verdict = 'yes' if self.met(value) else 'NO'
        goal = '' if self.goal is None else f'{bound} {self.goal:g}: {verdict}'
        return f'{name:<44}{value:>12.3f}  {self.unit:<22}{goal}'.rstrip()

    def record(self, value: float) -> dict[str, Any]:
        """The figure for a JSON file."""
        return {'value': value, 'unit': self.unit, 'goal': self.goal, 'met': self.met(value)}
