# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The diagnostics hook in real runs: it sees, it warns, and it changes nothing."""

import json
import re
from collections import deque

import pytest
import torch

from nexusflow.engine import NexusDiagnosticsHook

HOOK = dict(type='NexusDiagnosticsHook', interval=4, grad_interval=3, shared=('encoder',))


def scalars_of(work_dir):
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def log_of(work_dir):
    return ''.join(path.read_text() for path in work_dir.glob('*/*.log'))


@pytest.fixture(scope='module')
def watched(two_tasks, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('watched')
    return work_dir, *two_tasks.train(work_dir, dict(diagnostics=HOOK))


def test_the_training_is_bit_for_bit_the_same_without_it(two_tasks, watched, tmp_path):
    plain, _ = two_tasks.train(tmp_path)
    assert plain.keys() == watched[1].keys()
    assert all(torch.equal(plain[name], value) for name, value in watched[1].items())
    assert plain['encoder.1.num_batches_tracked'] == 12


def test_so_it_is_with_copies_that_follow_and_a_guard(two_tasks, tmp_path):
    regulariser = dict(
        two_tasks.REGULARISER,
        objective=dict(type='center', momentum=0.9, unlabelled=0.3),
        guard=dict(weight=0.1),
    )
    plain, _ = two_tasks.train(tmp_path / 'plain', regulariser=regulariser)
    seen, _ = two_tasks.train(tmp_path / 'seen', dict(d=HOOK), regulariser=regulariser)
    assert all(torch.equal(plain[name], value) for name, value in seen.items())


def test_the_numbers_and_when_they_come(watched):
    lines = [
        line for line in scalars_of(watched[0]) if any(key.startswith('align/') for key in line)
    ]
    slow = {3, 6, 9, 12}
    assert {line['step'] for line in lines} == {4, 8, 12} | slow
    last = lines[-1]
    assert set(last) == {
        'step',
        'align/distance',
        'align/mmd_map_track',
        'align/cka_map_track',
        'align/lemma_left_map_track',
        'align/lemma_right_map_track',
        'align/cos_map_track',
        'align/cos_map_align',
        'align/cos_track_align',
        'align/gradient_map',
        'align/gradient_track',
        'align/gradient_align',
        *(
            f'align/{name}_{task}'
            for task in ('map', 'track')
            for name in (
                *('rank_h', 'rank_z', 'std_h', 'std_z', 'top_h', 'top_z'),
                *('round_trip', 'lipschitz'),
            )
        ),
    }
    assert not any('loss' in key for key in last)
    assert all(-1.0 <= line['align/cos_map_track'] <= 1.0 for line in lines if line['step'] in slow)
    assert last['align/lemma_left_map_track'] <= last['align/lemma_right_map_track']
    assert last['align/round_trip_map'] < 1e-5
    assert 'has collapsed' not in log_of(watched[0])


def test_the_listeners_are_gone_after_the_training(watched):
    nexus = watched[2].model.regulariser.nexus
    assert not any(surrogate._forward_hooks for surrogate in nexus.surrogates.values())


def test_a_constant_aggregator_is_named_within_fifty_iterations(two_tasks, tmp_path):
    hook = dict(type='NexusDiagnosticsHook', shared=('encoder',))
    two_tasks.train(tmp_path, dict(diagnostics=hook), max_iters=50, constant='map')
    log = log_of(tmp_path)
    assert log.count('has collapsed') == 1
    assert (
        "WARNING - iteration 10: surrogate of task 'map' has collapsed: h': standard deviation 0 < 0.01"
        in log
    )
    assert 'try guard=dict(weight=1.0)' in log
    assert "task 'track' has" not in log


def test_a_collapse_in_the_middle_is_named_within_fifty_iterations_too(two_tasks, tmp_path):
    runner = two_tasks.make_runner(
        tmp_path, dict(d=dict(type='NexusDiagnosticsHook', shared=('encoder',))), max_iters=63
    )
    surrogate = runner.model.regulariser.nexus.surrogates['track']
    passes = []

    def collapse(module, args, output):
        passes.append(1)
        return output * 0 if len(passes) > 13 else output

    surrogate.aggregator.register_forward_hook(collapse)
    runner.train()
    (iteration,) = re.findall(r"iteration (\d+): surrogate of task 'track'", log_of(tmp_path))
    assert 14 <= int(iteration) <= 63


def test_a_model_without_a_regulariser_has_its_gradients_compared(two_tasks, tmp_path):
    two_tasks.train(tmp_path, dict(d=HOOK), max_iters=6, regulariser=None)
    lines = [line for line in scalars_of(tmp_path) if 'align/gradient_map' in line]
    assert set(lines[-1]) == {
        *('step', 'align/cos_map_track', 'align/gradient_map', 'align/gradient_track')
    }


def test_unknown_shared_modules_are_named(two_tasks, tmp_path):
    hook = dict(type='NexusDiagnosticsHook', shared=('encoder', 'neck'))
    with pytest.raises(ValueError, match=r"'shared' names 'neck'.*its modules are .*'encoder'"):
        two_tasks.train(tmp_path, dict(d=hook))


def test_the_window_holds_the_last_passes_up_to_a_number_of_rows():
    hook = NexusDiagnosticsHook(window=4, max_rows=7)
    hook._recent = {task: deque(maxlen=4) for task in ('map', 'track')}
    module = torch.nn.Identity()
    assert hook._passes() == {}
    for i in range(6):
        for task in ('map', 'track'):
            hook._listener(task)(module, (), (torch.full((3, 1), i), torch.full((3, 1), -i)))
    passes = hook._passes()
    assert [h[0].item() for h, _ in passes['map']] == [4, 5]
    assert [z[0].item() for _, z in passes['track']] == [-4, -5]
    assert hook._embeddings()['track'].flatten().tolist() == [4, 4, 4, 5, 5, 5]
    hook._listener('map')(module.eval(), (), (torch.ones(2, 1), torch.ones(2, 1)))
    assert len(hook._recent['map']) == 4 and hook._recent['map'][-1][0][0] == 5
    hook.max_rows = 1
    assert [len(pairs) for pairs in hook._passes().values()] == [1, 1]
