# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Read the layers that we need from a nuScenes map expansion (version 1.3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import shapely

from nexusflow.geometry.arclines import discretise
from nexusflow.geometry.centerlines import SPACING_M, LaneGraph
from nexusflow.geometry.map_nodes import MapNodes
from nexusflow.geometry.vector_map import MapLayers

_ROAD_LAYERS = ('road_segment', 'lane')
_LINE_LAYERS = ('road_divider', 'lane_divider')
_LANE_LAYERS = ('lane', 'lane_connector')
_KEYS = ('node', 'line', 'polygon', *_ROAD_LAYERS, 'ped_crossing', *_LINE_LAYERS)
_LANE_KEYS = ('lane_connector', 'arcline_path_3', 'connectivity')

Tables = Mapping[str, Any]


def load_map_expansion(path: Path, centerlines: bool = False) -> MapLayers:
    """Read a city's map.

    Args:
        path: ``<data root>/maps/expansion/<location>.json``.
        centerlines: Read the lanes' centre lines too.

    Returns:
        The layers that make the map classes, global frame, metres.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: It is not JSON, or a layer is missing or broken.
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
    return layers_of_tables(tables, f'map expansion {path}', centerlines)


def layers_of_tables(
    tables: Tables, source: str = 'map expansion', centerlines: bool = False
) -> MapLayers:
    """The layers of a map expansion that is in memory, e.g. ``NuScenesMap(...).json_obj``.

    Args:
        tables: Layer name -> records.
        source: Named in errors.
        centerlines: Read the lanes' centre lines too.

    Raises:
        ValueError: A layer is missing or broken.
    """
    missing = [k for k in (*_KEYS, *_LANE_KEYS * centerlines) if k not in tables]
    if missing:
        raise ValueError(
            f"{source} has no layer '{missing[0]}'; unpack version 1.3 of the map expansion"
        )
    try:
        return _layers(tables, centerlines)
    except KeyError as e:
        raise ValueError(
            f'{source} refers to {e}, which it does not contain; unpack it again'
        ) from e
    except ValueError as e:
        raise ValueError(f'{source}: {e}; unpack it again') from e


def _layers(tables: Tables, centerlines: bool) -> MapLayers:
    """Geometry of the tables."""
    nodes = MapNodes(tables['node'])
    rings = {p['token']: p for p in tables['polygon']}
    lines = {line['token']: line['node_tokens'] for line in tables['line']}
    road = [rings[r['polygon_token']] for name in _ROAD_LAYERS for r in tables[name]]
    crossings = [rings[r['polygon_token']] for r in tables['ped_crossing']]
    dividers = [lines[r['line_token']] for name in _LINE_LAYERS for r in tables[name]]
    shapes = {
        'road_surface': nodes.polygons(road),
        'ped_crossings': nodes.polygons(crossings),
        'dividers': nodes.lines(dividers),
    }
    records = {'road_surface': road, 'ped_crossings': crossings, 'dividers': dividers}
    unusable = {name: len(records[name]) - len(shapes[name]) for name in shapes}
    graph = LaneGraph()
    if centerlines:
        graph, unusable['lanes'] = _lanes(tables)
    return MapLayers(
        **{name: list(found) for name, found in shapes.items()},
        lanes=graph,
        num_unusable={name: count for name, count in unusable.items() if count},
    )


def _lanes(tables: Tables) -> tuple[LaneGraph, int]:
    """Lanes and lane connectors with their links, and the number of those that have no path."""
    tokens = [r['token'] for name in _LANE_LAYERS for r in tables[name]]
    with_path = [t for t in tokens if tables['arcline_path_3'].get(t)]
    index = {token: i for i, token in enumerate(with_path)}
    links: list[set[int]] = [set() for _ in with_path]
    for token, i in index.items():
        linked = tables['connectivity'].get(token, {})
        links[i].update(index[t] for t in linked.get('outgoing', ()) if t in index)
        for t in linked.get('incoming', ()):
            if t in index:
                links[index[t]].add(i)
    points = discretise([tables['arcline_path_3'][t] for t in with_path], SPACING_M)
    lines = [shapely.linestrings(p) for p in points]
    return LaneGraph(lines, [sorted(s) for s in links]), len(tokens) - len(with_path)
