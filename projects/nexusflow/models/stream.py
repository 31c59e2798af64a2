# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What streaming inference keeps of each scene between frames."""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from .track.queries import TrackQueries


class FrameIdentity(Protocol):
    """What is read of a data sample."""

    scene_token: str
    lidar2global: np.ndarray
    time_s: float


@dataclass
class SceneState:
    """A scene after one of its frames.

    Attributes:
        raw_bev: Levels of the BEV before temporal fusion, each (C, H, W).
        lidar2global: (4, 4) pose of the frame.
        time_s: Its time.
        tracks: (M,) live tracks, lidar frame of the frame.
        next_id: First free track id.
    """

    raw_bev: tuple[Tensor, ...]
    lidar2global: np.ndarray
    time_s: float
    tracks: TrackQueries
    next_id: int = 0


class SceneStates:
    """States of the scenes seen last, by scene token.

    Of a scene whose state is forgotten the time and the next id are kept, so that no id has two meanings in it.

    Args:
        max_scenes: States kept; the scene that was seen longest ago is forgotten first.
        max_gap_s: A scene that goes on after a longer gap starts anew (with new track ids).

    Raises:
        ValueError: ``max_scenes`` is less than one.
    """

    def __init__(self, max_scenes: int = 8, max_gap_s: float = 3.0) -> None:
        if max_scenes < 1:
            raise ValueError(f'stream: max_scenes is {max_scenes}, it must be at least 1')
        self.max_scenes, self.max_gap_s = max_scenes, max_gap_s
        self._scenes: OrderedDict[str, SceneState] = OrderedDict()
        self._last: dict[str, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, scene_token: str) -> SceneState:
        return self._scenes[scene_token]

    def clear(self) -> None:
        """Forget all scenes, and which ids they have used."""
        self._scenes.clear()
        self._last.clear()

    def check_room(self, scene_tokens: Collection[str]) -> None:
        """A batch must not hold more scenes than are kept, or each would forget the others.

        Raises:
            ValueError: It does.
        """
        if len(scene_tokens) > self.max_scenes:
            raise ValueError(
                f'stream: max_scenes is {self.max_scenes}, but a batch holds {len(scene_tokens)} scenes; raise '
                'model.stream.max_scenes'
            )

    def before(
        self, sample: FrameIdentity, raw_bev: tuple[Tensor, ...], nothing: TrackQueries
    ) -> tuple[SceneState, bool]:
        """The state that a frame goes on from, and whether there is one.

        Args:
            sample: The frame.
            raw_bev: Levels of its own BEV, which stand in for the previous one where there is none.
            nothing: No tracks.

        Returns:
            The scene's state; or, for a new scene, one that was restarted (time went back) or forgotten, or a gap that
            is too long, a fresh one and false. Ids start from zero in a new or restarted scene only.
        """
        known = self._scenes.get(sample.scene_token)
        last_s, next_id = self._last.get(sample.scene_token, (math.inf, 0))
        passed_s = sample.time_s - last_s
        if known is not None and 0 < passed_s <= self.max_gap_s:
            return known, True
        next_id = next_id if passed_s > 0 else 0
        return SceneState(raw_bev, sample.lidar2global, sample.time_s, nothing, next_id), False

    def remember(self, scene_token: str, state: SceneState) -> None:
        """Put a scene's newest state in."""
        self._scenes[scene_token] = state
        self._last[scene_token] = state.time_s, state.next_id
        self._scenes.move_to_end(scene_token)
        while len(self._scenes) > self.max_scenes:
            self._scenes.popitem(last=False)


def waves(samples: Sequence[FrameIdentity]) -> list[list[int]]:
    """Indices of frames that can be processed together, in order: a wave holds a scene's next frame only.

    Args:
        samples: Frames; those of one scene in time order.

    Example:
        >>> from types import SimpleNamespace
        >>> waves([SimpleNamespace(scene_token=token) for token in 'aabca'])
        [[0, 2, 3], [1], [4]]
    """
    groups: dict[int, list[int]] = defaultdict(list)
    seen: dict[str, int] = defaultdict(int)
    for i, sample in enumerate(samples):
        groups[seen[sample.scene_token]].append(i)
        seen[sample.scene_token] += 1
    return [groups[wave] for wave in range(len(groups))]
