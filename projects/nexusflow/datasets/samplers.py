# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A sampler that keeps scenes whole, for streaming inference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from mmdet3d.registry import DATA_SAMPLERS
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler


def deal_scenes(item_scenes: Sequence[str], world_size: int) -> list[list[int]]:
    """Deal whole scenes to ranks, the longest first, each to the rank with the fewest items.

    Args:
        item_scenes: Scene of each item; items of a scene are neighbours.
        world_size: Number of ranks.

    Returns:
        Item indices of each rank, ascending, so that each scene is in time order.

    Example:
        >>> deal_scenes(['a', 'a', 'a', 'b', 'c', 'c'], 2)
        [[0, 1, 2], [3, 4, 5]]
    """
    groups = [list(g) for _, g in groupby(range(len(item_scenes)), key=lambda i: item_scenes[i])]
    shares: list[list[int]] = [[] for _ in range(world_size)]
    for group in sorted(groups, key=lambda g: (-len(g), g[0])):
        min(shares, key=len).extend(group)
    return [sorted(share) for share in shares]


@DATA_SAMPLERS.register_module()
class NexusSceneSampler(Sampler):
    """Every item exactly once, in order, each scene whole on one rank.

    mmengine's ``DefaultSampler`` deals items round-robin, which tears every sequence apart on more
    than one rank. Nothing is padded here, so ranks may have different numbers of items. mmengine's
    ``collect_results`` (>= 0.10) then still returns every result, but in an interleaved order:
    metrics have to find samples by token, not by position.

    Args:
        dataset: Has ``item_scenes``, the scene of each item.
        seed: Accepted because mmengine's runner gives one; not used.
    """

    def __init__(self, dataset: Any, seed: int | None = None) -> None:
        rank, world_size = get_dist_info()
        self._indices = deal_scenes(dataset.item_scenes, world_size)[rank]

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)

    def set_epoch(self, epoch: int) -> None:
        """Nothing changes from epoch to epoch; mmengine's loops call this."""
