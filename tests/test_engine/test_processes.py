# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""``tools/dist_train.sh`` as a user of a machine without GPUs runs it: two processes over gloo."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import torch

import nexusflow

ROOT = Path(__file__).parents[2]


def free_port():
    """A port that no program listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def test_two_processes_train_on_a_cpu(toy_run, tmp_path):
    cfg = toy_run.make_config(tmp_path / 'run')
    cfg.custom_imports = dict(imports=['toy_run'], allow_failed_imports=False)
    config = tmp_path / 'toy.py'
    cfg.dump(config)
    sources = os.pathsep.join([str(Path(nexusflow.__path__[0]).parent), str(Path(__file__).parent)])
    environment = dict(PYTHON=sys.executable, PYTHONPATH=sources, PORT=free_port())
    done = subprocess.run(
        [shutil.which('bash'), ROOT / 'tools' / 'dist_train.sh', config, '2'],
        env=os.environ | environment | dict(CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'GPU number: 2' in done.stdout + done.stderr
    state = torch.load(tmp_path / 'run' / f'iter_{toy_run.MAX_ITERS}.pth', weights_only=True)
    assert state['state_dict']['layer.weight'].isfinite().all()
