# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""MapTR's gate: only lines whose 2 m buffers (flat ends, mitred corners) meet can match.

It differs from no gate for short pieces one behind the other, whose buffers end flat before they
touch, and for lines of no length, whose buffers are empty. Buffers are dear, so they are made only
where a cheaper look leaves a doubt.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ['buffers_meet']

BUFFER_M = 2.0
_MARGIN_M = 0.1
_LOOKS = 5


def buffers_meet(pred: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which pairs of lines have buffers that meet.

    Args:
        pred: (K, n, 2) metres.
        true: (K, n, 2) metres, same frame.

    Returns:
        (K,) flags.
    """
    meet = _run_beside(pred, true)
    rest = np.flatnonzero(~meet)
    meet[rest] = shapely.intersects(_buffers(pred[rest]), _buffers(true[rest]))
    return meet


def _run_beside(pred: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Pairs where some of a few points of ``pred`` lie beside the inner part of ``true``.

    A point whose nearest vertex of a polyline is an inner one lies beside a segment or around a
    mitred corner; nearer than the buffer's width it is inside the buffer, and it is a point of the
    other buffer too. The margin is above GEOS' tolerance of 1 % of the width.
    """
    n = pred.shape[1]
    some = pred[:, n // (2 * _LOOKS) :: n // _LOOKS]
    dx, dy = (some[:, :, None, axis] - true[:, None, :, axis] for axis in (0, 1))
    square = dx * dx + dy * dy
    nearest = square.argmin(axis=2)
    inner = (nearest > 0) & (nearest < n - 1)
    beside = (inner & (square.min(axis=2) <= (BUFFER_M - _MARGIN_M) ** 2)).any(axis=1)
    return np.asarray(beside & (np.ptp(pred, axis=1).max(axis=1) > _MARGIN_M))


def _buffers(lines: NDArray[np.float64]) -> NDArray[np.object_]:
    """Buffers with flat ends and mitred corners."""
    return np.asarray(
        shapely.buffer(shapely.linestrings(lines), BUFFER_M, cap_style='flat', join_style='mitre')
    )
