# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The whole demonstration on tiny data: every tool, from the world to the report."""

import fcntl
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest

import nexusflow

TOOLS = Path(__file__).parents[2] / 'tools'


def load_tool(name):
    spec = importlib.util.spec_from_file_location(f'tool_{name}', TOOLS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run_tool(name, *args):
    source = str(Path(nexusflow.__path__[0]).parent)
    return subprocess.run(
        [sys.executable, TOOLS / f'{name}.py', *args],
        env={**os.environ, 'PYTHONPATH': source, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    """Folder and output of a smoke run with one method."""
    work_dir = tmp_path_factory.mktemp('demo')
    done = run_tool(
        'demo', '--smoke', '--work-dir', work_dir, '--methods', 'nexusflow', '--workers', '1'
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return work_dir, done.stdout


def test_a_folder_whose_name_mmengine_would_change_is_refused(tmp_path):
    done = run_tool('demo', '--smoke', '--work-dir', tmp_path / 'a folder')
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert 'a folder has a space, which mmengine drops' in done.stderr


def test_metrics_of_each_city_are_written(smoke):
    metrics = json.loads((smoke[0] / 'metrics.json').read_text())
    assert set(metrics) == {'nexusflow'}
    assert set(metrics['nexusflow']) == {'all', 'boston', 'singapore'}
    for city in metrics['nexusflow'].values():
        assert 0.0 <= city['mAP'] <= 1.0 and 0.0 <= city['AMOTA'] <= 1.0


def test_progress_is_printed_and_the_end_is_table_and_report(smoke):
    *_, label, report = smoke[1].strip().splitlines()
    assert label.startswith('NexusFlow (partial labels)')
    assert report == f'report: {smoke[0]}/report.html'
    assert 'passed,' in smoke[1] and 'left' in smoke[1]
    assert 'NexusFlow (partial labels)' in (smoke[0] / 'report.html').read_text()


def test_second_call_repeats_nothing(smoke):
    stamps = {path: path.stat().st_mtime_ns for path in (smoke[0] / 'nexusflow').rglob('*.pth')}
    assert stamps
    again = run_tool(
        'demo', '--smoke', '--work-dir', smoke[0], '--methods', 'nexusflow', '--workers', '1'
    )
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert again.stdout.strip().splitlines()[-2:] == smoke[1].strip().splitlines()[-2:]


def test_benchmark_of_the_conversion(smoke, tmp_path):
    out = tmp_path / 'figures.json'
    done = run_tool('benchmark', 'convert', '--data-root', smoke[0] / 'world', '--json', out)
    assert done.returncode == 0, done.stderr
    figure = json.loads(out.read_text())['parts']['convert']['conversion']
    assert figure['value'] > 0 and figure['goal'] == 100.0
    assert figure['met'] is (figure['value'] >= 100.0)
    assert f'{figure["value"]:.3f}' in done.stdout


def test_a_demo_that_is_ended_ends_its_commands(tmp_path):
    """They would go on with the folder locked, and the next call would be refused."""
    source = str(Path(nexusflow.__path__[0]).parent)
    command = [sys.executable, TOOLS / 'demo.py', '--smoke', '--work-dir', tmp_path]
    env = {**os.environ, 'PYTHONPATH': source, 'OMP_NUM_THREADS': '1'}
    log = tmp_path / 'stages' / 'world.log'
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + 100
        while not log.exists() or not log.stat().st_size:
            time.sleep(0.05)
            assert time.monotonic() < end and process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 128 + signal.SIGTERM
    with open(tmp_path / 'stages' / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_stages_of_a_method_use_its_config_and_seed(tmp_path):
    demo = load_tool('demo')
    args = Namespace(seed=7, smoke=False, workers=3)
    train, test = demo.method_stages(args, 'full', tmp_path / 'full')
    assert train.command[2].endswith('configs/nexusflow/nexusflow_tiny_full.py')
    assert Path(train.command[2]).exists()
    assert '--resume' in train.command and 'randomness.seed=7' in train.command
    assert 'test_evaluator.1.workers=3' in test.command
    assert test.needs == (train.name,) and test.command[3] == str(tmp_path / 'full')
    assert set(demo.METHODS) == {'baseline', 'nexusflow', 'full'}


def test_table_shows_missing_values_as_dashes():
    methods = {'a': {'label': 'A', 'metrics': {'all': {'mAP': 0.5, 'AMOTA': None}}}}
    assert load_tool('demo').table(methods).splitlines()[-1].split() == ['A', '0.500', *['-'] * 5]
