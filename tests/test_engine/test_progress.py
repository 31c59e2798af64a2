# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import pytest

from nexusflow.engine import progress
from nexusflow.engine.progress import Estimate, Task, clock, fraction_in


@pytest.fixture
def now(monkeypatch):
    """A clock that stands still until it is set."""
    time = {'s': 100.0}
    monkeypatch.setattr(progress.time, 'monotonic', lambda: time['s'])
    return time


@pytest.mark.parametrize(
    ('line', 'fraction'),
    [
        ('11/23 12:00:00 - mmengine - INFO - Iter(train) [ 30/120]  lr: 1.0e-03', 0.25),
        ('Epoch(test) [200/200]    eta: 0:00:00', 1.0),
        ('render:  10%|#         | 12/120 [00:03<00:20,  4.00it/s]', 0.1),
        ('loss: 1/2', None),
        ('[0/0]', None),
    ],
)
def test_fraction_in_a_line(line, fraction):
    assert fraction_in(line) == fraction


def test_clock():
    assert clock(0.4) == '0:00' and clock(59.6) == '1:00' and clock(3600) == '60:00'


def test_time_left_follows_tasks_alike(now):
    tasks = {'a': Task('train', 50.0), 'b': Task('train', 50.0), 'c': Task('test', 10.0)}
    estimate = Estimate(tasks, started=100.0)
    assert estimate.left_s() == 110.0
    tasks['a'].started = 100.0
    now['s'] = 125.0
    tasks['a'].fraction = 0.25
    assert estimate.left_s() == 75.0 + 50.0 + 10.0
    assert estimate.line() == '[ 16%] a 25% | 0:25 passed, 2:15 left'
    now['s'] = 200.0
    tasks['a'].finish()
    # b takes as long as a did; c, twice as long as planned, as the rest did.
    assert estimate.left_s() == 100.0 + 20.0


def test_what_was_done_before_takes_no_time_and_teaches_nothing(now):
    tasks = {'a': Task('train', 50.0), 'b': Task('train', 50.0)}
    tasks['a'].finish()
    assert tasks['a'].took_s == 0.0
    assert Estimate(tasks).left_s() == 50.0
    tasks['b'].finish()
    assert Estimate(tasks, started=90.0).line().startswith('[100%]')


def test_two_at_a_time_halve_the_rest_but_not_the_longest(now):
    tasks = {name: Task(name, seconds) for name, seconds in zip('abc', (30, 10, 10), strict=True)}
    assert Estimate(tasks, jobs=2).left_s() == 30.0
    tasks['a'].finish()
    assert Estimate(tasks, jobs=2).left_s() == 10.0
