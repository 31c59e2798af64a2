# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Read the layers that we need from a nuScenes map expansion file (version 1.3)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from nexusflow.geometry.vector_map import MapLayers

_POLYGON_LAYERS = ('road_segment', 'lane', 'ped_crossing')
_LINE_LAYERS = ('road_divider', 'lane_divider')
_KEYS = ('node', 'line', 'polygon', *_POLYGON_LAYERS, *_LINE_LAYERS)


def load_map_expansion(path: Path) -> MapLayers:
    """Read a city's map.

    Args:
        path: ``<data root>/maps/expansion/<location>.json``.

    Returns:
        The layers that make the map classes, global frame, metres.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: It is not JSON, or a layer is missing.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f'map expansion {path} is missing: unpack nuScenes-map-expansion-v1.3.zip into '
            f'{path.parent.parent}, or convert without maps (--no-maps)'
        )
    try:
        tables = json.loads(path.read_text('utf-8'))
    except ValueError as e:
        raise ValueError(f'map expansion {path} is not valid JSON ({e}); unpack it again') from e
    missing = [key for key in _KEYS if key not in tables]
    if missing:
        raise ValueError(
            f"map expansion {path} has no layer '{missing[0]}'; "
            'unpack version 1.3 of the map expansion'
        )
    try:
        return _layers(tables)
    except KeyError as e:
        raise ValueError(
            f'map expansion {path} refers to {e}, which it does not contain; unpack it again'
        ) from e


def _layers(tables: Mapping[str, Any]) -> MapLayers:
    """Geometry of the tables."""
    nodes = _Nodes(tables['node'])
    rings = {p['token']: p for p in tables['polygon']}
    lines = {line['token']: line['node_tokens'] for line in tables['line']}
    layers = {
        name: nodes.polygons([rings[r['polygon_token']] for r in tables[name]])
        for name in _POLYGON_LAYERS
    }
    dividers = [lines[r['line_token']] for name in _LINE_LAYERS for r in tables[name]]
    return MapLayers(
        road_surface=[*layers['road_segment'], *layers['lane']],
        ped_crossings=list(layers['ped_crossing']),
        dividers=list(nodes.lines([d for d in dividers if len(d) > 1])),
    )


class _Nodes:
    """The node table; makes geometries of token lists."""

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._index = {r['token']: i for i, r in enumerate(records)}
        self._xy = np.array([(r['x'], r['y']) for r in records], dtype=np.float64).reshape(-1, 2)

    def lines(self, tokens: Sequence[Sequence[str]]) -> NDArray[np.object_]:
        """One line string per list of at least two tokens."""
        if not tokens:
            return np.empty(0, dtype=object)
        return np.asarray(shapely.linestrings(**self._flat(tokens)))

    def polygons(self, records: Sequence[Mapping[str, Any]]) -> NDArray[np.object_]:
        """One polygon with its holes per record of the polygon table."""
        if not records:
            return np.empty(0, dtype=object)
        holes = [(i, h['node_tokens']) for i, r in enumerate(records) for h in r['holes']]
        holes = [(i, tokens) for i, tokens in holes if len(tokens) > 2]
        shells = shapely.linearrings(**self._flat([r['exterior_node_tokens'] for r in records]))
        out = np.asarray(shapely.polygons(shells))
        if holes:
            owner = np.array([i for i, _ in holes])
            inner = shapely.linearrings(**self._flat([tokens for _, tokens in holes]))
            for i in np.unique(owner):
                out[i] = shapely.polygons(shells[i], holes=inner[owner == i])
        return out

    def _flat(self, tokens: Sequence[Sequence[str]]) -> dict[str, NDArray[Any]]:
        """Coordinates of token lists, one after the other, and the list each belongs to."""
        sizes = [len(t) for t in tokens]
        ids = np.array([self._index[token] for line in tokens for token in line], dtype=np.int64)
        points = self._xy[ids].reshape(-1, 2)
        return {'coords': points, 'indices': np.repeat(np.arange(len(tokens)), sizes)}
