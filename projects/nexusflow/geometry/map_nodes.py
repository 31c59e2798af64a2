# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The node table of a map expansion: from lists of node tokens to shapes, a layer at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

NDArrayInt = NDArray[np.int64]
NDArrayObject = NDArray[np.object_]


class MapNodes:
    """Makes shapes of nodes.

    Args:
        records: The table ``node``: records with ``token``, ``x`` and ``y``, metres.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._index = {r['token']: i for i, r in enumerate(records)}
        self._xy = np.array([(r['x'], r['y']) for r in records], dtype=np.float64).reshape(-1, 2)

    def lines(self, tokens: Sequence[Sequence[str]]) -> NDArrayObject:
        """Line strings of the lists that have at least two nodes; the others make none."""
        node, owner = self._flat([t for t in tokens if len(t) > 1])
        return np.asarray(shapely.linestrings(self._xy[node], indices=owner))

    def polygons(self, records: Sequence[Mapping[str, Any]]) -> NDArrayObject:
        """Polygons, valid or not, of the records whose outline has at least three nodes.

        Args:
            records: Records with ``exterior_node_tokens`` and ``holes``, each of which has
                ``node_tokens``; holes of fewer than three nodes are left out.

        Raises:
            KeyError: A token is not in the table.
        """
        outlines, kept = self._rings([r['exterior_node_tokens'] for r in records])
        made = np.asarray(shapely.polygons(outlines))
        place = {int(k): i for i, k in enumerate(kept)}
        hole_of = [(k, h['node_tokens']) for k, r in enumerate(records) for h in r['holes']]
        hole_of = [(place[k], tokens) for k, tokens in hole_of if k in place]
        holes, used = self._rings([tokens for _, tokens in hole_of])
        owner = np.array([i for i, _ in hole_of], dtype=np.int64)[used]
        for i in np.unique(owner):
            made[i] = shapely.polygons(outlines[i], holes=holes[owner == i])
        return made

    def _rings(self, tokens: Sequence[Sequence[str]]) -> tuple[NDArrayObject, NDArrayInt]:
        """Rings of the lists of at least three nodes (not counting a repeated first one), and which."""
        node, owner = self._flat(tokens)
        if len(node) == 0:
            return np.empty(0, dtype=object), np.empty(0, dtype=np.int64)
        size = np.bincount(owner, minlength=len(tokens))
        last = np.cumsum(size) - 1
        first = np.where(size > 0, last - size + 1, 0)
        ends = self._xy[node[first]], self._xy[node[last]]
        usable = size - (size > 1) * (ends[0] == ends[1]).all(axis=1) >= 3
        kept = np.flatnonzero(usable)
        points = self._xy[node[usable[owner]]]
        renumbered = np.repeat(np.arange(len(kept)), size[kept])
        return np.asarray(shapely.linearrings(points, indices=renumbered)), kept

    def _flat(self, tokens: Sequence[Sequence[str]]) -> tuple[NDArrayInt, NDArrayInt]:
        """Rows of the nodes of token lists, one after the other, and the list each belongs to."""
        rows = np.array([self._index[t] for line in tokens for t in line], dtype=np.int64)
        sizes = np.array([len(t) for t in tokens], dtype=np.int64)
        return rows, np.repeat(np.arange(len(tokens)), sizes)
