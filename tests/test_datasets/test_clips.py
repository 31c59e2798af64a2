# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Runs and clips."""

from nexusflow.datasets.clips import cut_clips, scene_runs
from nexusflow.datasets.samplers import deal_scenes


def chain(scene, length, first=0):
    names = [f'{scene}{i}' for i in range(first, first + length)]
    return [
        {'scene_token': scene, 'token': t, 'prev': p}
        for t, p in zip(names, ['', *names[:-1]], strict=True)
    ]


def test_runs_end_at_scenes_and_gaps():
    samples = [*chain('a', 4), *chain('b', 2), *chain('b', 3, first=7)]
    assert scene_runs(samples) == [range(0, 4), range(4, 6), range(6, 9)]
    assert scene_runs([]) == []


def test_clips_stay_within_runs():
    runs = [range(0, 4), range(4, 6), range(6, 9)]
    assert cut_clips(runs, 3).tolist() == [[0, 1, 2], [1, 2, 3], [6, 7, 8]]
    assert cut_clips(runs, 2, stride=2).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert cut_clips(runs, 5).shape == (0, 5)
    assert cut_clips(runs, 1).ravel().tolist() == list(range(9))


def test_scenes_are_dealt_whole_and_evenly():
    scenes = [
        s for s, n in zip('abcdefg', (5, 40, 39, 41, 3, 38, 40), strict=True) for _ in range(n)
    ]
    for world_size in (1, 2, 3, 9):
        shares = deal_scenes(scenes, world_size)
        assert sorted(i for share in shares for i in share) == list(range(len(scenes)))
        for name in 'abcdefg':
            owners = [r for r, share in enumerate(shares) if any(scenes[i] == name for i in share)]
            assert len(owners) == 1
        assert all(share == sorted(share) for share in shares)
    assert [len(share) for share in deal_scenes(scenes, 2)] == [118, 88]
