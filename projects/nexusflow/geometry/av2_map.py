# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Read the vector map of an Argoverse 2 log (Wilson et al., NeurIPS 2021), seen from above.

For the map classes the rules are MapTRv2's (https://arxiv.org/abs/2308.05736), each stated once:

- ``boundary``: outline of the union of the drivable areas;
- ``ped_crossing``: the surface between a crossing's two edges;
- ``divider``: the border between two neighbouring lanes outside junctions, whatever is painted there. Both lanes
  give it; it is taken once, and borders that meet end to end become one line;
- ``centerline``: the middle of a lane's borders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from nexusflow.geometry.centerlines import SPACING_M, LaneGraph
from nexusflow.geometry.polylines import line_lengths, resample
from nexusflow.geometry.vector_map import MapLayers

NDArrayFloat = NDArray[np.float64]
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Av2Lane:
    """A lane segment; borders in driving direction, city frame, metres.

    Attributes:
        left: (n, 2) left border.
        right: (m, 2) right border.
        left_paint: Mark on the left border, e.g. ``'SOLID_YELLOW'`` or ``'NONE'``.
        right_paint: Mark on the right border.
        left_neighbor: Id of the lane to the left, ``'None'`` if there is none.
        right_neighbor: Id of the lane to the right.
        is_intersection: Whether it lies in a junction.
        kind: ``'VEHICLE'``, ``'BIKE'`` or ``'BUS'``.
        successors: Ids of the lanes that it leads to.
    """

    left: NDArrayFloat
    right: NDArrayFloat
    left_paint: str
    right_paint: str
    left_neighbor: str
    right_neighbor: str
    is_intersection: bool
    kind: str
    successors: tuple[str, ...]

    def middle(self, num_points: int) -> NDArrayFloat:
        """(P, 2) centre line: the mean of both borders, each resampled uniformly."""
        return np.asarray(resample([self.left, self.right], num_points).mean(axis=0))


@dataclass(frozen=True)
class Av2Records:
    """A log's map as it is in the file, city frame, metres.

    Attributes:
        areas: (n, 2) outlines of the drivable areas.
        lanes: Lane segments by id.
        crossings: (2, 2, 2) both edges of each pedestrian crossing: edge, end, x and y.
    """

    areas: list[NDArrayFloat]
    lanes: dict[str, Av2Lane]
    crossings: list[NDArrayFloat]


def load_av2_records(path: Path) -> Av2Records:
    """Read a log's map file.

    Args:
        path: The log's ``map/log_map_archive_*.json``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not JSON or lacks a field; names both.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: missing; download the log with its map folder')
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{path}: not valid JSON ({error}); download it again') from error
    try:
        crossings = content['pedestrian_crossings'].values()
        return Av2Records(
            areas=[_points(a['area_boundary']) for a in content['drivable_areas'].values()],
            lanes={str(key): _lane(lane) for key, lane in content['lane_segments'].items()},
            crossings=[np.stack([_points(c['edge1']), _points(c['edge2'])]) for c in crossings],
        )
    except KeyError as error:
        raise ValueError(
            f'{path}: field {error} is missing; expected an Argoverse 2 vector map'
        ) from error


def load_av2_map(path: Path) -> MapLayers:
    """Read a log's map as the layers that make the map classes.

    Args:
        path: The log's ``map/log_map_archive_*.json``.

    Returns:
        The layers, city frame, metres. Poses for it are those of the frame that the map patch is
        meant to lie in; Argoverse's methods take the ego frame (x forward).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not JSON or lacks a field; names both.
    """
    records = load_av2_records(path)
    areas = [shapely.polygons(ring) for ring in records.areas if len(ring) > 2]
    unusable = len(records.areas) - len(areas)
    return MapLayers(
        road_surface=areas,
        ped_crossings=[_crossing(edges) for edges in records.crossings],
        dividers=_dividers(records.lanes),
        lanes=_graph(records.lanes),
        num_unusable={'road_surface': unusable} if unusable else {},
    )


def _points(nodes: Sequence[Json]) -> NDArrayFloat:
    """(P, 2) ground coordinates of a list of x, y, z records."""
    return np.array([[node['x'], node['y']] for node in nodes], dtype=np.float64)


def _lane(record: Json) -> Av2Lane:
    return Av2Lane(
        left=_points(record['left_lane_boundary']),
        right=_points(record['right_lane_boundary']),
        left_paint=str(record['left_lane_mark_type']),
        right_paint=str(record['right_lane_mark_type']),
        left_neighbor=str(record['left_neighbor_id']),
        right_neighbor=str(record['right_neighbor_id']),
        is_intersection=bool(record['is_intersection']),
        kind=str(record['lane_type']),
        successors=tuple(str(s) for s in record.get('successors', ())),
    )


def _crossing(edges: NDArrayFloat) -> BaseGeometry:
    """Surface between two edges; they run the same way, or the second is turned."""
    surface = shapely.polygons(np.concatenate([edges[0], edges[1, ::-1]]))
    turned = shapely.polygons(np.concatenate([edges[0], edges[1]]))
    return turned if shapely.is_valid(turned) and not shapely.is_valid(surface) else surface


def _dividers(lanes: Mapping[str, Av2Lane]) -> list[BaseGeometry]:
    """Each border between neighbours outside junctions once, joined end to end."""
    found: dict[frozenset[str], NDArrayFloat] = {}
    for key, lane in lanes.items():
        if lane.is_intersection:
            continue
        for neighbor, border in (
            (lane.left_neighbor, lane.left),
            (lane.right_neighbor, lane.right),
        ):
            beside = lanes.get(neighbor)
            if beside is not None and not beside.is_intersection:
                found.setdefault(frozenset((key, neighbor)), border)
    if not found:
        return []
    borders = shapely.multilinestrings([shapely.linestrings(line) for line in found.values()])
    return list(shapely.get_parts(shapely.line_merge(borders)))


def _graph(lanes: Mapping[str, Av2Lane]) -> LaneGraph:
    """Centre lines with points at most 0.5 m apart, and their links."""
    index = {key: i for i, key in enumerate(lanes)}
    lines = []
    for lane in lanes.values():
        count = int(np.ceil(line_lengths([lane.left, lane.right]).max() / SPACING_M)) + 1
        lines.append(shapely.linestrings(lane.middle(max(count, 2))))
    links = [[index[s] for s in lane.successors if s in index] for lane in lanes.values()]
    return LaneGraph(lines, links)
