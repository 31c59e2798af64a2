# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A city's lines under one search tree, clipped to patches by arithmetic on all segments at once.

Lines are cut into short runs of segments, and the tree holds the runs' bounds, so that a ring around
a whole district costs only what lies near the patch. Segments are clipped by the parametric rule of
Liang and Barsky (A new concept and method for line clipping, 1984); neighbours that still touch are
joined again, over the start of a ring as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from nexusflow.geometry.patch import Patch

NDArrayFloat = NDArray[np.float64]
NDArrayInt = NDArray[np.int64]
NDArrayBool = NDArray[np.bool_]
NDArrayObject = NDArray[np.object_]

MIN_LENGTH_M = 1e-2
"""Shorter pieces are points where a line touches the patch."""

_RUN = 8


@dataclass(frozen=True)
class Pieces:
    """What clipping leaves of the lines, lidar frame, in the order of the lines.

    Attributes:
        coords: K polylines (n, 2), metres; a ring that lies within the patch repeats its first vertex.
        line: (K,) index of the line that each was cut from.
        has_start: (K,) whether it contains the first vertex of that line.
        has_end: (K,) whether it contains the last vertex of that line.
    """

    coords: list[NDArrayFloat]
    line: NDArrayInt
    has_start: NDArrayBool
    has_end: NDArrayBool


class LineIndex:
    """Search tree over the segments of lines.

    Args:
        lines: (L,) line strings or rings, global frame, metres.
        join_rings: Whether a ring that the patch cuts goes on over its first vertex, as outlines
            must; without it a closed line is a line.
    """

    def __init__(self, lines: NDArrayObject, join_rings: bool = False) -> None:
        lines = shapely.remove_repeated_points(lines)
        self._xy, owner = shapely.get_coordinates(lines, return_index=True)
        self._join_rings = join_rings
        self._line = owner
        count = np.bincount(owner, minlength=len(lines))
        self._last = np.cumsum(count) - 1
        self._first = self._last - count + 1
        self._closed = shapely.is_closed(lines) if join_rings else np.zeros(len(lines), np.bool_)
        self._run_start, self._run_size = _runs(self._first, self._last)
        self._tree = shapely.STRtree(_bounds(self._xy, self._run_start, self._run_size))

    def clip(self, patch: Patch) -> Pieces:
        """Cut the lines to a patch; its edge belongs to it."""
        segments = self._near(patch)
        start, end = (patch.to_local(self._xy[segments + i]) for i in (0, 1))
        enter, leave = _inside(start, end, patch)
        kept = leave > enter
        segments, start, end = segments[kept], start[kept], end[kept]
        enter, leave = enter[kept], leave[kept]
        if len(segments) == 0:
            none = np.zeros(0, np.bool_)
            return Pieces([], np.zeros(0, np.int64), none, none)
        new = np.ones(len(segments), np.bool_)
        new[1:] = (segments[1:] != segments[:-1] + 1) | (leave[:-1] < 1) | (enter[1:] > 0)
        head = np.flatnonzero(new)
        tail = np.append(head[1:], len(segments)) - 1
        line = self._line[segments[head]]
        pieces = Pieces(
            _chain(start, end, enter, leave, new),
            line,
            (segments[head] == self._first[line]) & (enter[head] == 0),
            (segments[tail] == self._last[line] - 1) & (leave[tail] == 1),
        )
        lengths = np.add.reduceat(np.linalg.norm(end - start, axis=1) * (leave - enter), head)
        return self._joined(pieces, lengths)

    def _near(self, patch: Patch) -> NDArrayInt:
        """Sorted numbers (of their first vertices) of the segments in runs near the patch."""
        runs = np.sort(self._tree.query(patch.footprint))
        size = self._run_size[runs]
        before = np.cumsum(size) - size
        return np.asarray(np.repeat(self._run_start[runs] - before, size) + np.arange(size.sum()))

    def _joined(self, pieces: Pieces, lengths: NDArrayFloat) -> Pieces:
        """Join what the start of a ring keeps apart; drop what is too short."""
        coords = list(pieces.coords)
        keep = np.ones(len(coords), np.bool_)
        apart = self._closed[pieces.line] & (pieces.has_start != pieces.has_end)
        starts, ends = (np.flatnonzero(apart & has) for has in (pieces.has_start, pieces.has_end))
        _, a, b = np.intersect1d(pieces.line[starts], pieces.line[ends], True, True)
        for head, tail in zip(starts[a], ends[b], strict=True):
            coords[tail] = np.concatenate([coords[tail], coords[head][1:]])
            lengths[tail] += lengths[head]
            keep[head] = False
        keep &= lengths >= MIN_LENGTH_M
        return Pieces(
            [coords[k] for k in np.flatnonzero(keep)],
            pieces.line[keep],
            pieces.has_start[keep],
            pieces.has_end[keep],
        )


def _runs(first: NDArrayInt, last: NDArrayInt) -> tuple[NDArrayInt, NDArrayInt]:
    """First segment and number of segments of each run; lines given by their vertices."""
    count = -(-(last - first) // _RUN)
    before = np.cumsum(count) - count
    start = np.repeat(first - _RUN * before, count) + _RUN * np.arange(count.sum())
    return start, np.minimum(np.repeat(last, count) - start, _RUN)


def _bounds(xy: NDArrayFloat, start: NDArrayInt, size: NDArrayInt) -> NDArrayObject:
    """Boxes around the runs of segments."""
    if len(start) == 0:
        return np.empty(0, dtype=object)
    vertex = start[:, None] + np.minimum(np.arange(_RUN + 1), size[:, None])
    low, high = xy[vertex].min(axis=1), xy[vertex].max(axis=1)
    return np.asarray(shapely.box(low[:, 0], low[:, 1], high[:, 0], high[:, 1]))


def _inside(
    start: NDArrayFloat, end: NDArrayFloat, patch: Patch
) -> tuple[NDArrayFloat, NDArrayFloat]:
    """Where on each segment, from 0 to 1, the patch begins and ends; begin >= end: nowhere."""
    step = end - start
    with np.errstate(divide='ignore', invalid='ignore'):
        a, b = (patch.low - start) / step, (patch.high - start) / step
    along = step == 0
    within = (start >= patch.low) & (start <= patch.high)
    near = np.where(along, np.where(within, 0.0, np.inf), np.minimum(a, b))
    far = np.where(along, np.where(within, 1.0, -np.inf), np.maximum(a, b))
    return np.maximum(near.max(axis=1), 0.0), np.minimum(far.min(axis=1), 1.0)


def _chain(
    start: NDArrayFloat,
    end: NDArrayFloat,
    enter: NDArrayFloat,
    leave: NDArrayFloat,
    new: NDArrayBool,
) -> list[NDArrayFloat]:
    """Polylines of clipped segments; ``new`` marks the first segment of each polyline."""
    head = np.flatnonzero(new)
    place = np.arange(len(start)) + np.cumsum(new)
    out = np.empty((len(start) + len(head), 2))
    out[place] = np.where(leave[:, None] < 1, start + leave[:, None] * (end - start), end)
    out[place[head] - 1] = (start + enter[:, None] * (end - start))[head]
    return np.split(out, place[head[1:]] - 1)
