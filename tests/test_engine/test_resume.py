# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Real runs of mmengine's runner: killed, resumed, compared with one that was left alone."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import nexusflow

SCRIPT = Path(__file__).with_name('toy_run.py')


@pytest.fixture(scope='module')
def undisturbed(toy_run, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('undisturbed')
    return work_dir, toy_run.train(work_dir)


def test_killed_in_mid_save_then_resumed_equals_undisturbed(toy_run, undisturbed, tmp_path):
    source = str(Path(nexusflow.__path__[0]).parent)
    killed = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, 'kill'],
        env={'PYTHONPATH': source, 'PATH': '', 'HOME': str(tmp_path)},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr.decode()
    assert (tmp_path / 'iter_6.pth.tmp').exists() and not (tmp_path / 'iter_6.pth').exists()
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_3.pth')
    weights = toy_run.train(tmp_path)
    assert torch.equal(weights, undisturbed[1])
    assert (tmp_path / 'iter_9.pth').exists()


def test_same_seed_same_result(toy_run, undisturbed, tmp_path):
    assert torch.equal(toy_run.train(tmp_path), undisturbed[1])


def test_superseded_checkpoints_are_removed_after_the_new_one_exists(
    toy_run, tmp_path, monkeypatch
):
    from nexusflow.engine import NexusCheckpointHook

    seen = []
    original = NexusCheckpointHook._remember

    def remember(self, runner, step):
        superseded = original(self, runner, step)
        seen.append((step, [Path(path).name for path in superseded]))
        return superseded

    monkeypatch.setattr(NexusCheckpointHook, '_remember', remember)
    toy_run.train(tmp_path, interval=2, max_keep_ckpts=2)
    assert seen == [
        (2, []),
        (4, []),
        (6, ['iter_2.pth']),
        (8, ['iter_4.pth']),
        (9, ['iter_6.pth']),
    ]
    assert sorted(p.name for p in tmp_path.glob('*.pth*')) == ['iter_8.pth', 'iter_9.pth']


def test_checkpoints_load_with_weights_only(undisturbed):
    checkpoint = torch.load(undisturbed[0] / 'iter_9.pth', weights_only=True)
    history, _ = checkpoint['message_hub']['log_scalars']['train/loss'].data
    assert len(history) == 9
    assert checkpoint['meta']['iter'] == 9
