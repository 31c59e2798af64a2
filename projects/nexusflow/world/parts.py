# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""One interface over the sources: a world is a list of parts, made apart from each other.

A part is a piece of a location's map with the scenes that drive on it: a generated road network, or
an Argoverse 2 log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shapely.affinity import translate

from nexusflow.world.av2_source import load_av2_log
from nexusflow.world.scene import CityMap, RoadSegment, SceneLog
from nexusflow.world.spec import LOCATIONS, WorldSpec
from nexusflow.world.sumo_source import NetworkJob, build_network, merge_city, network_jobs

AV2_PITCH_M = 3000.0


@dataclass(frozen=True)
class LogJob:
    """All that decides the part of an Argoverse 2 log; picklable.

    Attributes:
        folder: The log.
        split: ``'train'`` or ``'val'``.
        offset_m: How far it is moved along x, so that logs do not overlap on their common map.
    """

    folder: Path
    split: str
    offset_m: float


@dataclass(frozen=True)
class Part:
    """A piece of a location's map and the scenes that drive on it."""

    city_map: CityMap
    scenes: tuple[SceneLog, ...]


PartJob = NetworkJob | LogJob


def plan_parts(spec: WorldSpec, seed: int) -> list[PartJob]:
    """Lists the parts of a world.

    Raises:
        FileNotFoundError: If an Argoverse 2 log is not a folder.
        ValueError: If two logs have one name.
    """
    if spec.source == 'sumo':
        return [
            job
            for location in LOCATIONS
            for job in network_jobs(
                location,
                spec.train_networks_per_city,
                spec.val_networks_per_city,
                spec.train_scenes_per_city,
                spec.val_scenes_per_city,
                spec.frames_per_scene,
                seed,
            )
        ]
    folders = [Path(log) for log in spec.av2_logs]
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f'--av2-log {folder}: there is no such folder')
    if len({folder.name for folder in folders}) < len(folders):
        raise ValueError('--av2-log: the same log is given twice; scene names must be unique')
    last = len(folders) - 1
    return [
        LogJob(folder.resolve(), 'val' if i == last else 'train', i * AV2_PITCH_M)
        for i, folder in enumerate(folders)
    ]


def build_part(job: PartJob) -> Part:
    """Makes one part; runs in worker processes."""
    if isinstance(job, NetworkJob):
        city_map, scenes = build_network(job)
        return Part(city_map, tuple(scenes))
    return _moved(*load_av2_log(job.folder, split=job.split), job.offset_m)


def merge_maps(pieces: Sequence[CityMap]) -> list[CityMap]:
    """Joins the pieces of each location, in the order of the pieces."""
    locations = list(dict.fromkeys(piece.location for piece in pieces))
    return [
        merge_city([(piece, []) for piece in pieces if piece.location == location])[0]
        for location in locations
    ]


def _moved(city_map: CityMap, scene: SceneLog, offset_m: float) -> Part:
    """Moves a part along x."""
    shift = (offset_m, 0.0, 0.0)
    moved_map = CityMap(
        location=city_map.location,
        road_segments=tuple(
            RoadSegment(translate(s.polygon, *shift), s.is_intersection)
            for s in city_map.road_segments
        ),
        lanes=tuple(translate(p, *shift) for p in city_map.lanes),
        ped_crossings=tuple(translate(p, *shift) for p in city_map.ped_crossings),
        walkways=tuple(translate(p, *shift) for p in city_map.walkways),
        road_dividers=tuple(translate(p, *shift) for p in city_map.road_dividers),
        lane_dividers=tuple(translate(p, *shift) for p in city_map.lane_dividers),
        lane_centerlines=tuple(translate(p, *shift) for p in city_map.lane_centerlines),
    )
    tracks = tuple(replace(track, center_m=track.center_m + shift) for track in scene.tracks)
    moved_scene = replace(scene, ego_xy_m=scene.ego_xy_m + shift[:2], tracks=tracks)
    return Part(moved_map, (moved_scene,))
