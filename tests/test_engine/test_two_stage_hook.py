# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Two stages in real runs: what is off, what is frozen, and after a resume."""

import json
import os
from types import SimpleNamespace

import pytest
import torch
import torch.multiprocessing as mp
from gloo_group import gloo_group

from nexusflow.engine.hooks.two_stage_hook import NexusTwoStageHook, Pause


def hook(**kwargs):
    return dict(two_stage=dict(type='NexusTwoStageHook', begin=6) | kwargs)


def steps_with(work_dir, key):
    lines = [
        json.loads(line)
        for path in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in path.read_text().splitlines()
    ]
    return [line['step'] for line in lines if key in line]


def same(a, b, prefix=''):
    names = [name for name in a if name.startswith(prefix)]
    assert names
    return all(torch.equal(a[name], b[name]) for name in names)


@pytest.fixture(scope='module')
def runs(two_tasks, tmp_path_factory):
    """States after 6 and 12 iterations of the baseline, of two stages, and of others."""
    folder = tmp_path_factory.mktemp('runs')
    encoder = dict(freeze=('encoder',))
    return {
        'folder': folder,
        'plain6': two_tasks.train(folder / 'plain6', regulariser=None, max_iters=6)[0],
        'plain': two_tasks.train(folder / 'plain', regulariser=None)[0],
        'start': two_tasks.make_runner(folder / 'start').model.state_dict(),
        'stages': two_tasks.train(folder / 'stages', hook()),
        'frozen': two_tasks.train(folder / 'frozen', hook(**encoder)),
        'tuned': two_tasks.train(folder / 'tuned', hook(align=False, **encoder), regulariser=None),
        'never': two_tasks.train(folder / 'never', hook(align=False)),
    }


def test_alignment_begins_with_the_second_stage(runs):
    assert steps_with(runs['folder'] / 'stages', 'loss_map_error') == list(range(1, 13))
    assert steps_with(runs['folder'] / 'stages', 'loss_align') == list(range(7, 13))
    assert steps_with(runs['folder'] / 'never', 'loss_align') == []


def test_the_first_stage_is_the_baseline_bit_for_bit(runs, two_tasks):
    checkpoint = torch.load(runs['folder'] / 'stages' / 'iter_4.pth', weights_only=True)
    baseline = torch.load(runs['folder'] / 'plain' / 'iter_4.pth', weights_only=True)
    assert same(baseline['state_dict'], checkpoint['state_dict'])
    assert same(runs['start'], checkpoint['state_dict'], 'regulariser.')
    assert not same(runs['start'], runs['stages'][0], 'regulariser.')
    assert not same(runs['plain'], runs['stages'][0], 'encoder.')


def test_without_alignment_the_run_is_the_baseline_bit_for_bit(runs):
    assert same(runs['plain'], runs['never'][0])
    assert same(runs['start'], runs['never'][0], 'regulariser.')


@pytest.mark.parametrize('kind', ['frozen', 'tuned'])
def test_what_is_frozen_stays_with_its_statistics(runs, kind):
    state, runner = runs[kind]
    assert same(runs['plain6'], state, 'encoder.')
    assert state['encoder.1.num_batches_tracked'] == 6
    assert not same(runs['plain6'], state, 'heads.')
    assert not any(p.requires_grad for p in runner.model.encoder.parameters())


def test_fine_tuning_and_alignment_differ_by_the_alignment_only(runs):
    frozen, tuned = runs['frozen'][0], runs['tuned'][0]
    assert set(frozen) - set(tuned) == {k for k in frozen if k.startswith('regulariser.')}
    assert not same(tuned, frozen, 'hidden.')


@pytest.mark.parametrize('stop', [4, 8])
def test_a_resumed_run_is_in_its_stage(two_tasks, runs, tmp_path, stop):
    class Stop(Exception):
        pass

    settings = hook(freeze=('encoder',))
    runner = two_tasks.make_runner(tmp_path, settings)
    step = runner.model.train_step

    def train_step(*args, **kwargs):
        if runner.iter == stop + 1:
            raise Stop
        return step(*args, **kwargs)

    runner.model.train_step = train_step
    with pytest.raises(Stop):
        runner.train()
    state, resumed = two_tasks.train(tmp_path, settings)
    assert same(runs['frozen'][0], state)
    assert not resumed.model.encoder.training or stop < 6


def test_begin_may_be_a_share_of_the_run(two_tasks, runs, tmp_path):
    state, _ = two_tasks.train(tmp_path, hook(begin=0.5))
    assert same(runs['stages'][0], state)


def test_faults_are_named(two_tasks, tmp_path):
    cases = [
        (dict(begin=0), "'begin' must be positive, got 0"),
        (dict(begin=12), "'begin' is 12, but the training ends at 12"),
        (dict(freeze=('neck',)), "'freeze' names 'neck'"),
    ]
    for i, (arguments, message) in enumerate(cases):
        with pytest.raises(ValueError, match=message):
            two_tasks.train(tmp_path / str(i), hook(**arguments))
    with pytest.raises(ValueError, match="no 'regulariser' to align with"):
        two_tasks.train(tmp_path / 'none', hook(), regulariser=None)


def test_a_paused_regulariser_asks_for_nothing_until_it_is_woken():
    class Greedy(torch.nn.Module):
        extra_views = 1

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))
            self.fixed = torch.nn.Parameter(torch.ones(()), requires_grad=False)
            self.needs_dense = True

        def forward(self, views, samples):
            return dict(loss_greedy=self.weight * len(views))

    module = Greedy()
    module.weight.grad = torch.ones(())
    pause = Pause(module)
    assert module([1], []) == {} and module.extra_views == 0 and module.needs_dense is False
    assert not module.weight.requires_grad and module.weight.grad is None
    assert set(module.state_dict()) == {'weight', 'fixed'}
    pause.wake()
    assert module([1, 2], [])['loss_greedy'] == 2
    assert module.extra_views == 1 and module.needs_dense is True
    assert 'extra_views' not in vars(module)
    assert module.weight.requires_grad and not module.fixed.requires_grad


def test_stages_may_be_counted_in_epochs():
    run = SimpleNamespace(max_epochs=24, max_iters=2400)
    assert NexusTwoStageHook(20, by_epoch=True)._first_of_second(run) == 20
    assert NexusTwoStageHook(0.75, by_epoch=True)._first_of_second(run) == 18
    assert NexusTwoStageHook(0.75)._first_of_second(run) == 1800


def _enter(rank, folder, two_tasks):
    os.environ.update(LOCAL_RANK=str(rank), RANK=str(rank), WORLD_SIZE='2')
    diagnostics = dict(type='NexusDiagnosticsHook', interval=2, grad_interval=4, shared=('hidden',))
    hooks = hook(freeze=('encoder',)) | dict(diagnostics=diagnostics)
    with gloo_group(rank, folder):
        state, runner = two_tasks.train(folder / 'run', hooks, max_iters=9)
        torch.save(dict(state=state, begin=type(runner.model).__name__), folder / f'{rank}.pth')


def test_two_processes_pass_from_stage_to_stage(two_tasks, runs, tmp_path):
    mp.start_processes(_enter, (tmp_path, two_tasks), nprocs=2, start_method='fork')
    first, second = (torch.load(tmp_path / f'{r}.pth', weights_only=True) for r in range(2))
    assert first['begin'] == 'MMDistributedDataParallel'
    trained = [n for n in first['state'] if not n.startswith('encoder.1.')]
    assert all(torch.equal(first['state'][n], second['state'][n]) for n in trained)
    assert not same(runs['start'], first['state'], 'regulariser.')
    assert steps_with(tmp_path / 'run', 'loss_align') == [7, 8, 9]
