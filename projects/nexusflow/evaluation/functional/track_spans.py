# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What became of each true track as a whole: tracked, lost, how late, how long, how often."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .box_columns import BoxColumns

__all__ = ['track_spans']

_FRAME_S = 0.5
_MOSTLY, _HARDLY = 0.8, 0.2


def track_spans(true: BoxColumns, found: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Metrics of whole tracks (Nevatia 2008, and the delays of nuScenes).

    Args:
        true: N true boxes, without gaps in a track.
        found: (N, T) whether each was matched, at T thresholds.

    Returns:
        Each (T,): ``mt`` and ``ml``, numbers of tracks of which at least 80 % or less than 20 % were
        found; ``frag``, how often tracks were lost and found again; ``tid`` and ``lgd``, seconds to
        the first match and longest gap, mean over the tracks that were found at all, else NaN (a
        key frame counts as half a second).
    """
    order = np.argsort(true.track, kind='stable')
    found = found[order]
    _, begin, length = np.unique(true.track[order], return_index=True, return_counts=True)
    end = begin + length - 1
    share = np.add.reduceat(found, begin, axis=0, dtype=np.int64) / length[:, None]
    row = np.arange(len(found))[:, None]
    start = np.repeat(begin, length)[:, None]
    since = row - np.maximum.accumulate(np.where(found, row, start - 1), axis=0)
    first = np.minimum.reduceat(np.where(found, row, len(found)), begin, axis=0) - begin[:, None]
    seen = share > 0
    lost = np.zeros_like(found)
    lost[1:] = found[:-1] & ~found[1:]
    lost[begin] = False
    losses = np.add.reduceat(lost, begin, axis=0, dtype=np.int64)
    unfinished = seen & ~found[end]
    with np.errstate(invalid='ignore'):
        mean = _FRAME_S / np.where(seen.any(axis=0), seen.sum(axis=0), np.nan)
    gap = np.maximum.reduceat(since, begin, axis=0)
    return {
        'mt': (share >= _MOSTLY).sum(axis=0).astype(np.float64),
        'ml': (share < _HARDLY).sum(axis=0).astype(np.float64),
        'frag': (losses.sum(axis=0) - unfinished.sum(axis=0)).astype(np.float64),
        'tid': np.where(seen, first, 0).sum(axis=0) * mean,
        'lgd': np.where(seen, gap, 0).sum(axis=0) * mean,
    }
