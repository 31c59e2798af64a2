# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""How much of a validation split lies on roads of the training split.

A map is static: a model that has seen a place in training can remember its map. Lilja et al.
(arXiv 2312.06420) count a validation sample as leaked when a training sample of the same location
is less than 5 m away, and find more than 80 % on the official nuScenes split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ['RADIUS_M', 'Leakage', 'leakage']

RADIUS_M = 5.0


class Leakage(NamedTuple):
    """Validation samples of a place.

    Attributes:
        near: How many have a training sample within the radius.
        total: How many there are.
    """

    near: int
    total: int

    @property
    def share(self) -> float:
        """Part of the samples that leak."""
        return self.near / self.total


def leakage(
    train: Sequence[Mapping[str, Any]],
    val: Sequence[Mapping[str, Any]],
    radius_m: float = RADIUS_M,
) -> dict[str, Leakage]:
    """Count validation samples near training samples of the same location.

    Args:
        train: Samples of an info file (``location``, ``ego2global``).
        val: Likewise.
        radius_m: Largest distance of the ego positions, x and y, metres.

    Returns:
        ``'all'`` and each location of the validation samples.

    Raises:
        ValueError: There are no validation samples.
    """
    if not val:
        raise ValueError('the validation split has no sample')
    known, asked = _positions(train), _positions(val)
    out = {}
    for place in sorted(asked):
        near = np.zeros(len(asked[place]), dtype=bool)
        if place in known:
            near = cKDTree(known[place]).query(asked[place])[0] <= radius_m
        out[place] = Leakage(int(near.sum()), len(near))
    total = Leakage(sum(own.near for own in out.values()), len(val))
    return {'all': total, **out}


def _positions(samples: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[np.float64]]:
    """Location -> (n, 2) ego positions, global frame."""
    places: dict[str, list[NDArray[np.float64]]] = {}
    for sample in samples:
        places.setdefault(sample['location'], []).append(sample['ego2global'][:2, 3])
    return {place: np.array(positions) for place, positions in places.items()}
