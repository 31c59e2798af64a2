# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The procedural world source: a city's road networks and drives through them, by SUMO.

A city consists of several networks that share nothing, far apart on one map, each of the train or of the val split.
A network is built in isolation from a seed, a location and its index: in any process, in any order, always the same.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nexusflow.world.scene import CityMap, SceneLog
from nexusflow.world.sumo_cities import city_traits
from nexusflow.world.sumo_map import city_map
from nexusflow.world.sumo_network import RoadNet, read_net
from nexusflow.world.sumo_plan import build_net, draw_plan
from nexusflow.world.sumo_scenes import PAUSE_FRAMES, TooFewDrives, cut_scene, pick_egos
from nexusflow.world.sumo_static import place_fixtures
from nexusflow.world.sumo_traffic import FRAME_S, Motion, simulate

NETWORK_PITCH_M = 3000.0
EPOCH_US = 1_700_000_000_000_000
NETWORK_US = 86_400_000_000
Piece = tuple[CityMap, list[SceneLog]]


@dataclass(frozen=True)
class NetworkJob:
    """All that decides one network; picklable, for a pool of processes.

    Attributes:
        location: nuScenes location name.
        index: Number of the network in its city; its place on the map.
        split: ``'train'`` or ``'val'``.
        scenes: Scenes to drive in it.
        frames: Key frames per scene.
        seed: Seed of the data set.
    """

    location: str
    index: int
    split: str
    scenes: int
    frames: int
    seed: int


def network_jobs(
    location: str,
    train_networks: int,
    val_networks: int,
    train_scenes: int,
    val_scenes: int,
    frames: int,
    seed: int,
) -> list[NetworkJob]:
    """Share a city's scenes out to its networks, train first.

    Raises:
        ValueError: If the location is unknown or a split has scenes but no network.
    """
    city_traits(location)
    jobs: list[NetworkJob] = []
    for split, networks, scenes in (
        ('train', train_networks, train_scenes),
        ('val', val_networks, val_scenes),
    ):
        if scenes and networks < 1:
            raise ValueError(
                f'{location}: {scenes} {split} scenes need at least one {split} network'
            )
        for k in range(networks):
            share = scenes // networks + (k < scenes % networks)
            if share:
                jobs.append(NetworkJob(location, len(jobs), split, share, frames, seed))
    return jobs


def build_network(job: NetworkJob) -> Piece:
    """Build one network and drive through it.

    Returns:
        The network's part of the city map, and its scenes in order of time.

    Raises:
        RuntimeError: If SUMO is not installed or fails, or the traffic has too few drives of that length.
        ValueError: If the location is unknown.
    """
    traits = city_traits(job.location)
    key = [job.seed, zlib.crc32(job.location.encode()), job.index]
    seeds = [int(s) for s in np.random.SeedSequence(key).generate_state(4) >> 1]
    with tempfile.TemporaryDirectory(prefix='nexusflow_sumo_') as name:
        folder = Path(name)
        plan = draw_plan(traits, (job.index * NETWORK_PITCH_M, 0.0), seeds[0], folder)
        net = read_net(build_net(plan, folder), plan)
        motions, drives = _drive(net, job, (seeds[1], seeds[3]), folder)
    fixtures = place_fixtures(net, seeds[2])
    scenes = []
    for k, (first, ego) in enumerate(drives):
        frames = first + np.arange(job.frames, dtype=np.int64)
        start = EPOCH_US + job.index * NETWORK_US
        times = start + frames * round(FRAME_S * 1e6)
        label = f'{job.location}-{job.split}-{job.index:02d}-{k:03d}'
        scenes.append(
            cut_scene(label, job.location, job.split, times, (first, ego), motions, fixtures)
        )
    return city_map(net), scenes


def _drive(
    net: RoadNet, job: NetworkJob, seeds: tuple[int, int], folder: Path
) -> tuple[list[Motion], list[tuple[int, Motion]]]:
    """Traffic, and the egos of the job's scenes, from seeds of the two.

    Usually one scene can follow the other, and the simulation ends with the last; else it goes on for longer.
    """
    least = job.scenes * (job.frames + PAUSE_FRAMES)
    planned = round(1.3 * least) + 40

    def up_to(frames: int) -> tuple[list[Motion], list[tuple[int, Motion]]]:
        motions = simulate(net, frames, planned, seeds[0], folder)
        ends = net.dead_ends_m
        return motions, pick_egos(motions, job.scenes, job.frames, ends, frames, seeds[1])

    try:
        return up_to(least)
    except TooFewDrives:
        return up_to(planned)


def merge_city(pieces: Iterable[Piece]) -> Piece:
    """Put the networks of one city on one map.

    Args:
        pieces: Results of :func:`build_network` for one location.

    Returns:
        The city map, and all scenes, in the order of the pieces.

    Raises:
        ValueError: If the pieces are of several locations, or there is none.
    """
    parts = list(pieces)
    locations = sorted({part[0].location for part in parts})
    if len(locations) != 1:
        raise ValueError(f'a city map needs pieces of exactly one location, got {locations}')
    maps = [part[0] for part in parts]
    merged = CityMap(
        location=locations[0],
        road_segments=tuple(x for m in maps for x in m.road_segments),
        lanes=tuple(x for m in maps for x in m.lanes),
        ped_crossings=tuple(x for m in maps for x in m.ped_crossings),
        walkways=tuple(x for m in maps for x in m.walkways),
        road_dividers=tuple(x for m in maps for x in m.road_dividers),
        lane_dividers=tuple(x for m in maps for x in m.lane_dividers),
        lane_centerlines=tuple(x for m in maps for x in m.lane_centerlines),
    )
    return merged, [scene for part in parts for scene in part[1]]
