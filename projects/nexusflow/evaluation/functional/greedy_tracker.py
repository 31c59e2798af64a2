# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The baseline tracker: detections linked greedily by the distance of their centres.

The rule of CenterPoint (Yin, Zhou and Kraehenbuehl, CVPR 2021, section 4.3; after CenterTrack, Zhou
et al., ECCV 2020): every detection is moved back by its velocity to the time of the previous frame;
by falling score it takes the nearest free track of its class within a distance that depends on the
class; what finds none starts a track. A track without a detection moves on with its last velocity,
is not reported, and ends when it has gone without for longer than the patience.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ['MAX_DISTANCE_M', 'Detections', 'GreedyTracker']

MAX_DISTANCE_M = {
    'car': 4.0,
    'truck': 4.0,
    'bus': 5.5,
    'trailer': 3.0,
    'pedestrian': 1.0,
    'motorcycle': 13.0,
    'bicycle': 3.0,
}
"""Farthest link of each class, metres: CenterPoint's error bounds of the predicted motion."""


@dataclass(frozen=True)
class Detections:
    """Detected objects of one frame.

    Attributes:
        center_xy: (M, 2) metres, in a frame that does not move (global).
        velocity: (M, 2) m/s, same frame; NaN (unknown) counts as 0.
        names: M class names.
        scores: (M,) confidence.
        time_s: Time of the frame.
    """

    center_xy: NDArray[np.floating]
    velocity: NDArray[np.floating]
    names: Sequence[str]
    scores: NDArray[np.floating]
    time_s: float


@dataclass
class _Tracks:
    """The K tracks that are alive: id, class, place, velocity, frames without a detection."""

    ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    names: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, 'U1'))
    center: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    misses: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


class GreedyTracker:
    """Gives detections of one scene their track ids, frame by frame.

    Args:
        max_distance_m: Farthest link of each class, metres.
        patience: Frames that a track may go without a detection and still go on.

    Example:
        >>> def seen(x, time):
        ...     one = np.ones(1)
        ...     return Detections(np.array([[x, 0.0]]), np.array([[4.0, 0.0]]), ['car'], one, time)
        >>> tracker = GreedyTracker()
        >>> [int(tracker.step(seen(x, t))[0]) for x, t in ((0.0, 0.0), (2.0, 0.5), (40.0, 1.0))]
        [0, 0, 1]
    """

    def __init__(
        self, max_distance_m: Mapping[str, float] = MAX_DISTANCE_M, patience: int = 3
    ) -> None:
        self.max_distance_m, self.patience = dict(max_distance_m), patience
        self.reset()

    def reset(self) -> None:
        """Forget everything: a new scene begins."""
        self._tracks, self._next_id, self._time_s = _Tracks(), 0, None

    def step(self, seen: Detections) -> NDArray[np.int64]:
        """Link the detections of the next frame.

        Args:
            seen: The detections; their classes must have a largest distance.

        Returns:
            (M,) track ids, in the order of the detections, each id once.

        Raises:
            ValueError: A class without a largest distance, or a frame that is not later than the
                one before.
        """
        seconds = self._seconds_to(seen)
        center = np.asarray(seen.center_xy, dtype=np.float64).reshape(-1, 2)
        velocity = np.nan_to_num(np.asarray(seen.velocity, dtype=np.float64)).reshape(-1, 2)
        names = np.array(seen.names, dtype=str)
        track_of = self._link(center - velocity * seconds, names, np.asarray(seen.scores))
        ids = np.where(track_of >= 0, np.append(self._tracks.ids, -1)[track_of], -1)
        new = ids < 0
        ids[new] = self._next_id + np.arange(int(new.sum()))
        self._next_id += int(new.sum())
        lost = np.ones(len(self._tracks.ids), dtype=bool)
        lost[track_of[track_of >= 0]] = False
        lost &= self._tracks.misses < self.patience
        old = self._tracks
        self._tracks = _Tracks(
            ids=np.concatenate([ids, old.ids[lost]]),
            names=np.concatenate([names, old.names[lost]]),
            center=np.concatenate([center, (old.center + old.velocity * seconds)[lost]]),
            velocity=np.concatenate([velocity, old.velocity[lost]]),
            misses=np.concatenate([np.zeros(len(ids), np.int64), old.misses[lost] + 1]),
        )
        return ids

    def _seconds_to(self, seen: Detections) -> float:
        """Time since the last frame, after checking the new one."""
        unknown = sorted(set(seen.names) - set(self.max_distance_m))
        if unknown:
            raise ValueError(
                f'greedy tracker: no largest distance for {unknown}; add it to max_distance_m, it'
                f' has {sorted(self.max_distance_m)}'
            )
        last, self._time_s = self._time_s, seen.time_s
        if last is not None and seen.time_s <= last:
            raise ValueError(
                f'greedy tracker: a frame at {seen.time_s} s follows one at {last} s; give the'
                ' frames of a scene in time order, and reset() before the next scene'
            )
        return 0.0 if last is None else seen.time_s - last

    def _link(
        self, center: NDArray[np.float64], names: NDArray[np.str_], scores: NDArray[np.floating]
    ) -> NDArray[np.int64]:
        """(M,) row of the track that each detection takes; -1: none."""
        tracks = self._tracks
        out = np.full(len(center), -1)
        if not len(center) or not len(tracks.ids):
            return out
        distance = np.linalg.norm(center[:, None] - tracks.center[None], axis=-1)
        limit = np.array([self.max_distance_m[name] for name in names])
        far = (distance > limit[:, None]) | (names[:, None] != tracks.names[None])
        distance[far] = np.inf
        for row in np.argsort(-scores, kind='stable'):
            nearest = int(distance[row].argmin())
            if np.isfinite(distance[row, nearest]):
                out[row] = nearest
                distance[:, nearest] = np.inf
        return out
