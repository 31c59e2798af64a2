# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Has a surrogate collapsed: does it say the same of every sample?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from .diagnostics import Passes, deviations, effective_rank, mean_std

__all__ = ['CollapseTest']


@dataclass(frozen=True)
class CollapseTest:
    """Thresholds below which embeddings count as collapsed.

    Both are of the samples' deviations (:func:`nexusflow.flows.diagnostics.deviations`), in which the motion of the
    weights has no part.

    Attributes:
        min_std: Spread of an entry over the samples; aggregators give entries of size 1.
        min_rank: Effective rank: below it, the samples lie on a line or nearly so.
        min_rows: With fewer samples nothing is said.
    """

    min_std: float = 0.01
    min_rank: float = 1.5
    min_rows: int = 8

    def reason(self, passes: Sequence[Tensor]) -> str | None:
        """Why the rows (B, D) of some forward passes count as collapsed, or None."""
        rows = deviations(passes)
        if not rows.isfinite().all():
            return 'values that are not finite'
        if len(rows) < self.min_rows:
            return None
        std, rank = mean_std(rows).item(), effective_rank(rows).item()
        if std < self.min_std:
            return f'standard deviation {std:.2g} < {self.min_std:g}'
        if rank < self.min_rank:
            return f'effective rank {rank:.2f} < {self.min_rank:g}'
        return None

    def collapsed(self, passes: Passes) -> dict[str, str]:
        """Task to reason, of those that have collapsed.

        Args:
            passes: For each task h' (B, D) and z (B, D) of each forward pass.

        Example:
            >>> import torch
            >>> spread, constant = torch.randn(9, 4), torch.ones(9, 4)
            >>> CollapseTest().collapsed({'map': [(constant, spread)], 'track': [(spread, spread)]})
            {'map': "h': standard deviation 0 < 0.01"}
        """
        found: dict[str, str] = {}
        for task, pairs in passes.items():
            for name, vectors in zip(("h'", 'z'), zip(*pairs, strict=True), strict=True):
                reason = self.reason(vectors)
                if reason is not None:
                    found.setdefault(task, f'{name}: {reason}')
        return found
