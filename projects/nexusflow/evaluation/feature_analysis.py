# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""How near the tasks' features are to each other, and how rich each one is, in one way for all methods.

Every detector that takes a cross-task regulariser hands it the tasks' features. A stand-in that only
records them sees what the regulariser would see, also where a method has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nexusflow.flows.alignment import relative_distance
from nexusflow.flows.diagnostics import effective_rank, linear_cka, spectrum
from nexusflow.flows.mmd import mmd2
from nexusflow.flows.nexus import NexusFlow
from nexusflow.supervision.view import View

__all__ = ['FeatureRecorder', 'analyse_space', 'collect_features', 'jointly_standardised', 'tsne']

POOLED, EMBEDDING, Z = 'pooled', 'embedding', 'z'
"""Spaces: means over the raster of a head's feature; h' before the flow; z after it."""


class FeatureRecorder(nn.Module):
    """Takes a regulariser's place and keeps vectors of each sample.

    Args:
        regulariser: The one that it stands for, or None. Of NexusFlow the embeddings are kept too.

    Attributes:
        rows: Space and task to vectors, one list entry a batch.
        places: Location of each sample; '' if it has none.
    """

    extra_views = 0
    needs_dense = False

    def __init__(self, regulariser: nn.Module | None = None) -> None:
        super().__init__()
        self.rows: dict[str, dict[str, list[Tensor]]] = {}
        self.places: list[str] = []
        nexus = getattr(regulariser, 'nexus', None)
        self.regulariser = regulariser if isinstance(nexus, NexusFlow) else None
        self._hooks = [
            surrogate.register_forward_hook(
                lambda module, args, output, task=task: self._keep_embeddings(task, output)
            )
            for task, surrogate in (nexus.surrogates.items() if self.regulariser else ())
        ]

    def forward(self, views: Sequence[View], samples: Sequence) -> dict[str, Tensor]:
        """Record the first view; no losses."""
        for task, taps in views[0].features.items():
            self._keep(POOLED, task, first_raster(task, taps).mean(dim=(2, 3)))
        self.places += [str(sample.metainfo.get('location', '')) for sample in samples]
        if self.regulariser is not None:
            self.regulariser(views, samples)
        return {}

    def release(self) -> None:
        """Let the regulariser go, as it was."""
        for hook in self._hooks:
            hook.remove()

    def vectors(self) -> dict[str, dict[str, Tensor]]:
        """Space and task to (N, D), float32 on the CPU."""
        return {
            space: {task: torch.cat(rows) for task, rows in tasks.items()}
            for space, tasks in self.rows.items()
        }

    def _keep(self, space: str, task: str, rows: Tensor) -> None:
        tasks = self.rows.setdefault(space, {})
        tasks.setdefault(task, []).append(rows.detach().float().cpu())

    def _keep_embeddings(self, task: str, output: tuple[Tensor, Tensor]) -> None:
        self._keep(EMBEDDING, task, output[0])
        self._keep(Z, task, output[1])


def first_raster(task: str, taps: Mapping[str, Any]) -> Tensor:
    """The first feature of a head that is a raster (B, C, H, W).

    Raises:
        ValueError: There is none.
    """
    for value in taps.values():
        if isinstance(value, Tensor) and value.ndim == 4:
            return value
    raise ValueError(f"task '{task}': none of its features {sorted(taps)} is (B, C, H, W)")


@torch.no_grad()
def collect_features(
    model: nn.Module, batches: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, dict[str, Tensor]], list[str]]:
    """Run a detector in mode 'loss' on batches without labels, norms and dropout as at inference.

    Args:
        model: A detector with the attribute ``regulariser``; it is put back afterwards.
        batches: Collated batches, as data loaders give them.

    Returns:
        Space and task to vectors (N, D), and the location of each of the N samples.
    """
    regulariser, recorder = model.regulariser, FeatureRecorder(model.regulariser)
    was_training = model.training
    model.regulariser = recorder
    model.eval()
    try:
        for batch in batches:
            data = model.data_preprocessor(batch, training=False)
            for sample in flat(data['data_samples']):
                sample.set_metainfo({'tasks': ()})
            model(**data, mode='loss')
    finally:
        recorder.release()
        model.regulariser = regulariser
        model.train(was_training)
    return recorder.vectors(), recorder.places


def flat(samples: Sequence) -> list:
    """Samples of nested lists (clips), in order."""
    return [s for item in samples for s in (flat(item) if isinstance(item, list) else [item])]


def jointly_standardised(rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tasks' vectors with mean 0 and spread 1 of each dimension over all tasks together.

    So methods whose features have other scales are comparable, and differences between the tasks
    stay. Tasks of different lengths are standardised each by itself.

    Args:
        rows: Task to (N, D).
    """
    together = (
        torch.cat(list(rows.values())) if len({len(r.T) for r in rows.values()}) == 1 else None
    )
    out = {}
    for task, vectors in rows.items():
        of = vectors if together is None else together
        std = of.std(dim=0)
        out[task] = (vectors - of.mean(dim=0)) / torch.where(std > 0, std, torch.ones_like(std))
    return out


def analyse_space(rows: Mapping[str, Tensor]) -> dict[str, Any]:
    """Figures of the tasks' vectors of the same samples.

    Args:
        rows: Task to (N, D), N at least 2.

    Returns:
        ``mmd2`` (squared) and ``relative`` (:func:`nexusflow.flows.alignment.relative_distance`), only of tasks of
        one length, and ``cka`` of each pair ``'<task>-<task>'``;
        ``effective_rank`` and ``spectrum`` of each task: the shares of the variance along the
        principal axes, descending.
    """
    out: dict[str, Any] = {
        'mmd2': {},
        'relative': {},
        'cka': {},
        'effective_rank': {},
        'spectrum': {},
    }
    for a, b in combinations(rows, 2):
        if rows[a].shape == rows[b].shape:
            out['mmd2'][f'{a}-{b}'] = float(mmd2(rows[a], rows[b]))
            out['relative'][f'{a}-{b}'] = float(relative_distance(torch.stack((rows[a], rows[b]))))
        out['cka'][f'{a}-{b}'] = float(linear_cka(rows[a], rows[b]))
    for task, vectors in rows.items():
        values = spectrum(vectors)
        out['effective_rank'][task] = float(effective_rank(vectors))
        out['spectrum'][task] = (values / values.sum().clamp(min=1e-30)).tolist()
    return out


def tsne(rows: Mapping[str, Tensor], seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """Plane in which near vectors of all tasks stay near (van der Maaten & Hinton, 2008).

    By scikit-learn, which the judges need anyway.

    Args:
        rows: Task to (N, D); the tasks' vectors must have one length.
        seed: Of its random numbers.

    Returns:
        Task to (N, 2).
    """
    from sklearn.manifold import TSNE

    vectors = torch.cat(list(rows.values())).double().numpy()
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    points = TSNE(perplexity=perplexity, init='random', random_state=seed).fit_transform(vectors)
    parts = np.split(points.astype(np.float64), np.cumsum([len(r) for r in rows.values()])[:-1])
    return dict(zip(rows, parts, strict=True))
