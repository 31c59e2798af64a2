# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The scene-whole sampler on several ranks."""

from types import SimpleNamespace

import pytest
from mmdet3d.registry import DATA_SAMPLERS

from nexusflow.datasets import samplers

SCENES = ['a'] * 4 + ['b'] * 7 + ['c'] * 2 + ['d'] * 5


@pytest.mark.parametrize('world_size', [1, 2, 3])
def test_every_item_once_with_whole_scenes(monkeypatch, world_size):
    dataset = SimpleNamespace(item_scenes=SCENES)
    shares = []
    for rank in range(world_size):
        monkeypatch.setattr(samplers, 'get_dist_info', lambda rank=rank: (rank, world_size))
        cfg = {'type': 'NexusSceneSampler', 'dataset': dataset, 'seed': 3}
        sampler = DATA_SAMPLERS.build(cfg)
        sampler.set_epoch(1)
        shares.append(list(sampler))
        assert len(sampler) == len(shares[-1])
    assert sorted(i for share in shares for i in share) == list(range(len(SCENES)))
    owners = {
        name: {r for r, s in enumerate(shares) for i in s if SCENES[i] == name} for name in 'abcd'
    }
    assert all(len(ranks) == 1 for ranks in owners.values())
    assert all(share == sorted(share) for share in shares)
