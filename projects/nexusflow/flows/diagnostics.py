# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What embeddings tell of an alignment: how near the tasks are, and how much each still says.

Rows are samples. All results are detached scalars unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TypeAlias

import torch
from torch import Tensor

from .alignment import center_distance
from .coupling import CouplingFlow
from .lipschitz import lemma1_sides, pair_lipschitz
from .mmd import mmd2

__all__ = [
    'Passes',
    'alignment_scalars',
    'cosine',
    'deviations',
    'effective_rank',
    'lemma1_scalars',
    'linear_cka',
    'mean_std',
    'spectrum',
]

Passes: TypeAlias = Mapping[str, Sequence[tuple[Tensor, Tensor]]]
"""For each task h' (B, D) and z (B, D) of each forward pass."""


@torch.no_grad()
def spectrum(rows: Tensor) -> Tensor:
    """Eigenvalues of the covariance of rows (B, D), descending, (min(B, D),); B is at least 2.

    What a scree plot shows: the slower they fall, the richer the embedding. All are NaN if a row is not finite.
    """
    centred = rows - rows.mean(dim=0)
    if not centred.isfinite().all():
        return centred.new_full((min(centred.shape),), torch.nan)
    values: Tensor = torch.linalg.svdvals(centred).square() / (len(rows) - 1)
    return values


@torch.no_grad()
def effective_rank(rows: Tensor) -> Tensor:
    """The exponential of the entropy of the singular values' shares (Roy & Vetterli, 2007).

    Of the centred rows (B, D): 1 for rows on a line, k for k directions of equal spread, at most
    min(B - 1, D), 0 for rows that are all the same, and NaN where one is not finite.
    """
    values = spectrum(rows).sqrt()
    total = values.sum()
    share = values / torch.where(total > 0, total, torch.ones_like(total))
    return torch.where(total > 0, (-torch.xlogy(share, share).sum()).exp(), total)


@torch.no_grad()
def linear_cka(x: Tensor, y: Tensor) -> Tensor:
    """Linear centred kernel alignment in [0, 1] (Kornblith et al., 2019).

    It is 1 if y (B, K) is x (B, D) rotated, scaled and shifted, and 0 if either is constant. With
    few rows it is high also for unrelated embeddings.
    """
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    gram_x, gram_y = x @ x.T, y @ y.T
    norm = gram_x.norm() * gram_y.norm()
    return (gram_x * gram_y).sum() / torch.where(norm > 0, norm, torch.ones_like(norm))


@torch.no_grad()
def mean_std(rows: Tensor) -> Tensor:
    """Root of the mean over the entries of the variance over the rows (B, D)."""
    return rows.var(dim=0, correction=0).mean().sqrt()


@torch.no_grad()
def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between two vectors of one length; 0 if one of them is 0."""
    norm = a.norm() * b.norm()
    return (a @ b) / torch.where(norm > 0, norm, torch.ones_like(norm))


@torch.no_grad()
def deviations(passes: Sequence[Tensor]) -> Tensor:
    """How rows differ from other rows that the same weights made, (sum of the passes' rows, D).

    Weights move between passes, so the spread of pooled rows would also hold that motion: it would hide a network that
    says the same of every sample. Taken are the differences of a pass's B rows to their mean, times
    sqrt(B / (B - 1)); those of a single row to the pass before, over sqrt(2). The mean square is then the variance.

    Args:
        passes: Rows (B, D) of each forward pass, in order; B may differ.

    Example:
        >>> deviations([torch.tensor([[1.0], [3.0]]), torch.tensor([[7.0], [7.0]])]).flatten().tolist()
        [-1.4142135381698608, 1.4142135381698608, 0.0, 0.0]
    """
    parts, before = [passes[0][:0]], None
    for rows in passes:
        count, mean = len(rows), rows.mean(dim=0, keepdim=True)
        if count > 1:
            parts.append((rows - mean) * (count / (count - 1)) ** 0.5)
        elif before is not None:
            parts.append((rows - before) * 0.5**0.5)
        before = mean
    return torch.cat(parts)


def _without_drift(passes: Mapping[str, Sequence[Tensor]]) -> dict[str, Tensor]:
    """All rows of each task, less the centre of their pass over all tasks, which moves with the weights."""
    centres = [torch.cat(rows).mean(dim=0) for rows in zip(*passes.values(), strict=True)]
    return {
        task: torch.cat([rows - centre for rows, centre in zip(of, centres, strict=True)])
        for task, of in passes.items()
    }


@torch.no_grad()
def alignment_scalars(passes: Passes) -> dict[str, Tensor]:
    """Everything that two or more samples tell.

    Args:
        passes: For each task h' (B, D) and z (B, D) of each forward pass; all tasks have seen the same samples. At
            least two samples in one pass, or three passes.

    Returns:
        ``distance``, mean distance of a task's z to the centre; for each pair of tasks ``mmd_<i>_<j>`` (squared,
        biased) and ``cka_<i>_<j>`` of z, without what all tasks drift from pass to pass; for each task, and v one of h
        and z, ``rank_<v>_<i>``, ``std_<v>_<i>`` and ``top_<v>_<i>``, the largest eigenvalue's share of the variance,
        these three of the :func:`deviations`.

    Raises:
        ValueError: If there are fewer samples.

    Example:
        >>> noise = torch.randn(8, 4)
        >>> scalars = alignment_scalars({'map': [(noise, noise)], 'track': [(noise, noise)]})
        >>> scalars['distance'].item(), round(scalars['cka_map_track'].item(), 4)
        (0.0, 1.0)
    """
    z = {task: torch.cat([pair[1] for pair in pairs]) for task, pairs in passes.items()}
    scalars = {'distance': center_distance(torch.stack(tuple(z.values())))}
    apart = {task: deviations([pair[1] for pair in pairs]) for task, pairs in passes.items()}
    still = _without_drift({task: [pair[1] for pair in pairs] for task, pairs in passes.items()})
    for i, j in combinations(passes, 2):
        scalars[f'mmd_{i}_{j}'] = mmd2(still[i], still[j])
        scalars[f'cka_{i}_{j}'] = linear_cka(apart[i], apart[j])
    for task, pairs in passes.items():
        for name, vectors in zip('hz', zip(*pairs, strict=True), strict=True):
            rows = deviations(vectors)
            if len(rows) < 2:
                raise ValueError(
                    f"task '{task}': two samples in one pass or three passes are needed, got passes of "
                    f'{[len(of) for of in vectors]}'
                )
            values = spectrum(rows)
            scalars[f'rank_{name}_{task}'] = effective_rank(rows)
            scalars[f'std_{name}_{task}'] = mean_std(rows)
            scalars[f'top_{name}_{task}'] = values[0] / values.sum().clamp(min=1e-30)
    return scalars


@torch.no_grad()
def lemma1_scalars(
    flows: Mapping[str, CouplingFlow], embeddings: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The two sides of Lemma 1, see :func:`nexusflow.flows.lipschitz.lemma1_sides`; slow.

    Args:
        flows: The flow of each task.
        embeddings: For each task h' (B, D).

    Returns:
        For each pair of tasks ``lemma_left_<i>_<j>`` and ``lemma_right_<i>_<j>``, means over the samples, the right one
        with the certified constant; for each task ``lipschitz_<i>``, the measured constant of its flow's inverse.
    """
    scalars = {}
    for i, j in combinations(flows, 2):
        sides = lemma1_sides(flows[i], flows[j], embeddings[i], embeddings[j])
        scalars[f'lemma_left_{i}_{j}'] = sides.left.mean()
        scalars[f'lemma_right_{i}_{j}'] = sides.right.mean()
    for task, flow in flows.items():
        scalars[f'lipschitz_{task}'] = pair_lipschitz(flow, flow(embeddings[task]))
    return scalars
