# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Centre lines around a pose: each way through the lanes from where it starts to where it ends.

After MapTRv2 (Liao et al., IJCV 2024, https://arxiv.org/abs/2308.05736): lanes are cut to the patch,
linked to their successors, and every path from a lane without predecessor to one without successor
becomes a line, simplified by 0.2 m. Two differences: a link counts only if the patch contains the
point where the lanes meet, and lanes on no such path (a roundabout that the patch contains whole) are
not lost but followed until they come round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from nexusflow.geometry.line_index import MIN_LENGTH_M, LineIndex, Pieces
from nexusflow.geometry.patch import Patch

NDArrayFloat = NDArray[np.float64]
NDArrayObject = NDArray[np.object_]

SPACING_M = 0.5
"""Distance of the points that curved lanes are made of."""

TOLERANCE_M = 0.2
"""Largest distance between a path and its simplified line."""


@dataclass(frozen=True)
class LaneGraph:
    """Lanes and what follows them.

    Attributes:
        lines: Centre line of each lane, in driving direction, global frame, metres.
        successors: Indices of the lanes that follow each lane.
    """

    lines: Sequence[shapely.LineString] = ()
    successors: Sequence[Sequence[int]] = ()


class CenterlineIndex:
    """Search tree over a city's lanes.

    Args:
        lanes: The city's lanes.
    """

    def __init__(self, lanes: LaneGraph) -> None:
        self._successors = lanes.successors
        self._index = LineIndex(np.array(lanes.lines, dtype=object))

    def clip(self, patch: Patch) -> list[NDArrayFloat]:
        """Paths through a patch.

        Args:
            patch: Where to look.

        Returns:
            (n, 2) polylines in driving direction, lidar frame, metres.
        """
        pieces = self._index.clip(patch)
        paths = _paths(self._links(pieces))
        lines = [np.concatenate([pieces.coords[k] for k in path]) for path in paths]
        return _simplified(lines)

    def _links(self, pieces: Pieces) -> list[list[int]]:
        """Which pieces follow each piece."""
        begins = {int(pieces.line[k]): int(k) for k in np.flatnonzero(pieces.has_start)}
        links: list[list[int]] = [[] for _ in pieces.coords]
        for k in np.flatnonzero(pieces.has_end):
            following = self._successors[pieces.line[k]]
            links[k] = [begins[lane] for lane in following if lane in begins]
        return links


def _paths(links: Sequence[Sequence[int]]) -> list[list[int]]:
    """Every simple path from a root to a leaf, then paths over the nodes that lie on none of them."""
    led_to = {k for following in links for k in following}
    found: list[list[int]] = []
    for root in range(len(links)):
        if root in led_to:
            continue
        open_paths = [[root]]
        while open_paths:
            path = open_paths.pop()
            following = links[path[-1]]
            open_paths += [[*path, k] for k in reversed(following) if k not in path]
            if not following:
                found.append(path)
    covered = {k for path in found for k in path}
    for start in range(len(links)):
        if start not in covered:
            found.append(_round_trip(links, start))
            covered.update(found[-1])
    return found


def _round_trip(links: Sequence[Sequence[int]], start: int) -> list[int]:
    """Follow the first new successor until there is none."""
    path = [start]
    while True:
        new = [k for k in links[path[-1]] if k not in path]
        if not new:
            return path
        path.append(new[0])


def _simplified(lines: Sequence[NDArrayFloat]) -> list[NDArrayFloat]:
    """Lines without points that lie within the tolerance of the rest."""
    if not lines:
        return []
    owner = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    shapes = shapely.linestrings(np.concatenate(lines), indices=owner)
    shapes = shapely.simplify(shapes[shapely.length(shapes) >= MIN_LENGTH_M], TOLERANCE_M)
    return [shapely.get_coordinates(shape) for shape in shapes]
