# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Scenes out of a long simulation: who is the ego, and what it could meet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nexusflow.world.scene import NDArrayFloat, NDArrayInt, SceneLog, Track
from nexusflow.world.sumo_static import Fixture
from nexusflow.world.sumo_traffic import FRAME_S, Motion

EGO_KINDS = ('hatchback', 'sedan', 'suv')
EGO_CENTER_TO_AXLE_M = 1.4
REACH_M = 80.0
LEAST_SPEED_MPS = 2.0
DEAD_END_M = 50.0
PLACE_M = 60.0
PAUSE_FRAMES = 4


class TooFewDrives(RuntimeError):
    """The simulated traffic has too few drives of the wanted length."""


def pick_egos(
    motions: Sequence[Motion],
    scenes: int,
    frames: int,
    dead_ends_m: NDArrayFloat,
    last_frame: int,
    seed: int,
) -> list[tuple[int, Motion]]:
    """Choose one drive per scene, one after another in time, at places as different as possible.

    An ego moves, preferably turns, and keeps away from where the modelled streets end.

    Args:
        motions: Everybody.
        scenes: How many drives.
        frames: Length of a scene.
        dead_ends_m: (D, 2) ends of streets.
        last_frame: Length of the simulation.
        seed: Decides between drives that are about as good.

    Returns:
        (first frame, ego's motion) of each scene.

    Raises:
        TooFewDrives: If the traffic has too few drives of that length.
    """
    drives = [m for m in motions if m.kind in EGO_KINDS and len(m.yaw_rad) >= frames]
    chosen: list[tuple[int, Motion]] = []
    visited: list[NDArrayFloat] = []
    rng = np.random.default_rng(seed)
    first = 0
    while len(chosen) < scenes and first + frames <= last_frame:
        there = [m for m in drives if m.start <= first <= m.start + len(m.yaw_rad) - frames]
        whims = rng.uniform(0.0, 2.0, len(there))
        scores = [
            _score(m, first, frames, dead_ends_m, visited, float(whim))
            for m, whim in zip(there, whims, strict=True)
        ]
        if not scores or max(scores) < 0.0:
            first += PAUSE_FRAMES
            continue
        best = there[int(np.argmax(scores))]
        chosen.append((first, best))
        visited.append(best.center_xy_m[first - best.start + frames // 2])
        first += frames + PAUSE_FRAMES
    if len(chosen) < scenes:
        raise TooFewDrives(
            f'only {len(chosen)} of {scenes} drives of {frames} frames found in the simulated '
            'traffic: ask for fewer scenes per network or shorter scenes'
        )
    return chosen


def _score(
    motion: Motion,
    first: int,
    frames: int,
    dead_ends_m: NDArrayFloat,
    visited: Sequence[NDArrayFloat],
    whim: float,
) -> float:
    """How good an ego it is; negative: not at all."""
    span = slice(first - motion.start, first - motion.start + frames)
    path, yaw = motion.center_xy_m[span], motion.yaw_rad[span]
    driven = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    if driven < LEAST_SPEED_MPS * FRAME_S * (frames - 1):
        return -1.0
    turned = float(np.abs(np.diff(yaw)).sum())
    away = np.linalg.norm(path[:, None] - dead_ends_m[None], axis=2)
    at_end = float((away < DEAD_END_M).any(axis=1).mean()) if len(dead_ends_m) else 0.0
    known = sum(float(np.linalg.norm(path[frames // 2] - v)) < PLACE_M for v in visited)
    return 10.0 + min(turned, 1.5) + whim - 6.0 * at_end - known


def cut_scene(
    name: str,
    location: str,
    split: str,
    timestamps_us: NDArrayInt,
    drive: tuple[int, Motion],
    motions: Sequence[Motion],
    fixtures: Sequence[Fixture],
) -> SceneLog:
    """One scene: the ego's poses and the tracks of all that comes near.

    Args:
        name: Scene name.
        location: nuScenes location name.
        split: ``'train'`` or ``'val'``.
        timestamps_us: (F,) key-frame times.
        drive: First frame and the ego's motion, from :func:`pick_egos`.
        motions: Everybody.
        fixtures: Everything that stands.
    """
    first, ego = drive
    count = len(timestamps_us)
    span = slice(first - ego.start, first - ego.start + count)
    center, yaw = ego.center_xy_m[span], ego.yaw_rad[span]
    tracks = []
    for motion in motions:
        begin, end = (
            max(motion.start, first),
            min(motion.start + len(motion.yaw_rad), first + count),
        )
        if motion is not ego and begin < end:
            inside = slice(begin - motion.start, end - motion.start)
            frames = np.arange(begin - first, end - first, dtype=np.int64)
            path, heading = motion.center_xy_m[inside], motion.yaw_rad[inside]
            tracks += _track(motion, frames, path, heading, center)
    places = np.array([fixture.center_xy_m for fixture in fixtures]).reshape(-1, 2)
    away = np.linalg.norm(places[:, None] - center, axis=2).min(axis=1)
    for i in np.flatnonzero(away < REACH_M).tolist():
        frames = np.arange(count, dtype=np.int64)
        path, heading = np.tile(places[i], (count, 1)), np.full(count, fixtures[i].yaw_rad)
        tracks += _track(fixtures[i], frames, path, heading, center)
    axle = center - EGO_CENTER_TO_AXLE_M * np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    return SceneLog(name, location, split, timestamps_us, axle, yaw, tuple(tracks))


def _track(
    thing: Motion | Fixture,
    frames: NDArrayInt,
    path_m: NDArrayFloat,
    yaw_rad: NDArrayFloat,
    ego_xy_m: NDArrayFloat,
) -> list[Track]:
    """The part of a path that lies within reach of the ego: one track, or none."""
    near = np.linalg.norm(path_m - ego_xy_m[frames], axis=1) < REACH_M
    if not near.any():
        return []
    height = np.full((int(near.sum()), 1), thing.size_wlh_m[2] / 2)
    center = np.concatenate([path_m[near], height], axis=1)
    track = Track(thing.name, thing.category, thing.size_wlh_m, frames[near], center, yaw_rad[near])
    return [track]
