# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Made-up map expansions: shapes to tables, and a city with as many records as Boston."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

BOSTON = {
    'road_segment': 928,
    'lane': 1215,
    'ped_crossing': 340,
    'road_divider': 377,
    'lane_divider': 671,
}
"""Records of boston-seaport, from the devkit's own test (``map_expansion/tests/test_all_maps.py``)."""

_BLOCKS_M = 48.0, 120.0
_LANE_M = 3.5
_CORNER_M = 12.0
_STEP_M = 6.0


class MapTables:
    """Collects shapes as the tables of a map expansion.

    Attributes:
        tables: Layer name -> records, as in the JSON of a map expansion.
    """

    def __init__(self) -> None:
        names = ('node', 'line', 'polygon', *BOSTON)
        self.tables: dict[str, list[dict[str, Any]]] = {name: [] for name in names}

    def add_polygon(self, layer: str, outline: ArrayLike, holes: Sequence[ArrayLike] = ()) -> None:
        """Add a polygon, given by its (n, 2) rings without repeated first vertex."""
        record = {
            'exterior_node_tokens': self._nodes(outline),
            'holes': [{'node_tokens': self._nodes(hole)} for hole in holes],
        }
        self._add(layer, 'polygon', record)

    def add_line(self, layer: str, points: ArrayLike) -> None:
        """Add an (n, 2) line."""
        self._add(layer, 'line', {'node_tokens': self._nodes(points)})

    def _add(self, layer: str, kind: str, record: dict[str, Any]) -> None:
        token = f'{kind}{len(self.tables[kind])}'
        self.tables[kind].append({'token': token, **record})
        rows = self.tables[layer]
        rows.append({'token': f'{layer}{len(rows)}', f'{kind}_token': token})

    def _nodes(self, points: ArrayLike) -> list[str]:
        nodes = self.tables['node']
        first = len(nodes)
        for x, y in np.asarray(points, dtype=np.float64).reshape(-1, 2).tolist():
            nodes.append({'token': f'n{len(nodes)}', 'x': x, 'y': y})
        return [nodes[i]['token'] for i in range(first, len(nodes))]


def made_city(seed: int) -> tuple[dict[str, list[dict[str, Any]]], np.ndarray]:
    """A bent street grid with the records of Boston, layer by layer; dense in one corner.

    Returns:
        The tables, and (N, 3) poses along its streets: x, y, yaw of the lidar (its y axis looks
        along the street).
    """
    rng = np.random.default_rng(seed)
    size = 15
    lines = 200 + np.cumsum(np.linspace(*_BLOCKS_M, size))
    grid = np.stack(np.meshgrid(lines, lines), axis=-1)
    corners = grid + rng.uniform(-5, 5, grid.shape)
    city = MapTables()
    poses = []
    for i, j in np.ndindex(size, size):
        city.add_polygon('road_segment', _junction(corners[i, j], rng))
        for di, dj in ((0, 1), (1, 0)):
            if i + di < size and j + dj < size:
                poses.append(_street(city, corners[i, j], corners[i + di, j + dj], rng))
    tables = {
        name: _choose(rows, BOSTON[name], rng) if name in BOSTON else rows
        for name, rows in city.tables.items()
    }
    return tables, np.concatenate(poses)


def _choose(rows: list[Any], count: int, rng: np.random.Generator) -> list[Any]:
    """Some of the rows, in their order."""
    if len(rows) < count:
        raise ValueError(f'the made city has only {len(rows)} records where {count} are needed')
    return [rows[k] for k in np.sort(rng.permutation(len(rows))[:count])]


def _junction(center: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    radius = _CORNER_M * rng.uniform(1.1, 1.4, (20, 1))
    return center + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _street(
    city: MapTables, start: np.ndarray, end: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A curved street of two to four lanes between two junctions; gives poses along it."""
    way = end - start
    length = float(np.hypot(*way))
    along, across = way / length, np.array([-way[1], way[0]]) / length
    t = np.linspace(_CORNER_M, length - _CORNER_M, int(length / _STEP_M) + 2)[:, None]
    bow = rng.uniform(-6, 6) * np.sin(np.pi * t / length)
    middle = start + t * along + bow * across
    count = int(rng.integers(2, 5))
    offsets = (np.arange(count + 1) - count / 2) * _LANE_M
    edges = [middle + offset * across for offset in offsets]
    half = len(middle) // 2
    halves = slice(half + 1), slice(half, None)
    for part in halves:
        city.add_polygon('road_segment', _band([edge[part] for edge in edges]))
    for left, right in zip(edges, edges[1:], strict=False):
        city.add_polygon('lane', _band([left, right]))
    for k, edge in enumerate(edges[1:-1], 1):
        if k == count // 2:
            city.add_line('road_divider', edge)
            continue
        for part in halves:
            city.add_line('lane_divider', edge[part])
    for at in (0, -1):
        ways = [edge[at] for edge in (edges[0], edges[-1])]
        inwards = 4.0 * along * (1 if at == 0 else -1)
        city.add_polygon('ped_crossing', [*ways, ways[1] + inwards, ways[0] + inwards])
    yaw = np.full((len(middle), 1), np.arctan2(along[1], along[0]) - np.pi / 2)
    return np.concatenate([middle, yaw], axis=1)


def _band(edges: Sequence[np.ndarray]) -> np.ndarray:
    """Outline of the surface between the outer edges, with the ends of the inner ones."""
    ends = ([edge[at] for edge in edges[1:-1]] for at in (-1, 0))
    far, near = (np.reshape(points, (-1, 2)) for points in ends)
    return np.concatenate([edges[0], far, edges[-1][::-1], near[::-1]])
