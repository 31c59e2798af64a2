# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Tasks that are taught in every n-th step only."""

from types import SimpleNamespace

import pytest

from nexusflow.engine import NexusTaskTurnsHook
from nexusflow.testing import make_clip_batch


def tasks_in(hook, iteration, tasks):
    """The tasks of a batch of two clips of two frames after the hook."""
    batch = make_clip_batch(2, 2, (32, 64), tasks)
    hook.before_train_iter(SimpleNamespace(iter=iteration), 0, batch)
    return [[sample.tasks for sample in frame] for frame in batch['data_samples']]


def test_a_task_has_its_turn_in_every_nth_iteration():
    hook = NexusTaskTurnsHook(every=dict(map=3))
    seen = [tasks_in(hook, i, ('map', 'track'))[1][1] for i in range(6)]
    assert seen == [('map', 'track'), ('track',), ('track',)] * 2


def test_each_task_has_its_own_turns_and_unlabelled_samples_stay_unlabelled():
    hook = NexusTaskTurnsHook(every=dict(map=2, track=3))
    partial = [('map',), ('track',)]
    assert tasks_in(hook, 0, partial) == [[('map',), ('track',)]] * 2
    assert tasks_in(hook, 1, partial) == [[(), ()]] * 2
    assert tasks_in(hook, 2, partial) == [[('map',), ()]] * 2
    assert tasks_in(hook, 3, partial) == [[(), ('track',)]] * 2


@pytest.mark.parametrize('n', [0, -1, 1.5, '2'])
def test_turns_that_never_come_are_refused(n):
    with pytest.raises(ValueError, match=r"every\['map'\] is"):
        NexusTaskTurnsHook(every=dict(map=n))
