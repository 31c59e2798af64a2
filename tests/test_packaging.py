# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What ``pip install .`` gives to users: the package, its configs and its tools, and nothing else."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import nexusflow

ROOT = Path(__file__).parents[1]
BASH = shutil.which('bash')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """A wheel of a copy of the sources, so that no build folder appears in the checkout."""
    copy, out = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('wheel')
    ignored = shutil.ignore_patterns('__pycache__', '*.egg-info')
    for name in ('projects', 'configs', 'tools'):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'LICENSE'):
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation']
    subprocess.run([*command, '-w', out, copy], check=True)
    [path] = out.glob('*.whl')
    return path


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp('site')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def run(target, *args):
    return subprocess.run(
        [sys.executable, *args],
        cwd=target.parent,
        env={**os.environ, 'PYTHONPATH': str(target)},
        capture_output=True,
        text=True,
        check=False,
    )


def files(folder, *suffixes):
    return {p.relative_to(folder) for p in folder.rglob('*') if p.suffix in suffixes}


def test_wheel_holds_the_package_only(wheel):
    assert wheel.name == f'nexusflow-{nexusflow.__version__}-py3-none-any.whl'
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split('/')[0] for name in archive.namelist()}
    assert tops == {'nexusflow', f'nexusflow-{nexusflow.__version__}.dist-info'}


def test_every_module_config_and_tool_is_in_it(installed):
    package, mim = installed / 'nexusflow', installed / 'nexusflow' / '.mim'
    modules = {path for path in files(package, '.py') if path.parts[0] != '.mim'}
    assert modules == files(ROOT / 'projects' / 'nexusflow', '.py')
    assert files(mim / 'configs', '.py') == files(ROOT / 'configs', '.py')
    assert files(mim / 'tools', '.py', '.sh') == files(ROOT / 'tools', '.py', '.sh')


def test_the_oldest_torch_that_it_takes_is_one_for_its_optimiser_too(installed):
    [own] = metadata.distributions(name='nexusflow', path=[str(installed)])
    [floor] = torch_of(own.requires).specifier
    assert (
        floor.operator == '>='
        and floor.version in torch_of(metadata.requires('pytorch_optimizer')).specifier
    )


def torch_of(requirements):
    """The requirement of torch."""
    [found] = [r for r in map(Requirement, requirements) if r.name == 'torch']
    return found


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_installed_tools_run(installed, tool):
    done = run(installed, f'{installed}/nexusflow/.mim/tools/{tool}.py', '-h')
    assert done.returncode == 0, done.stderr
    assert '--cfg-options' in done.stdout and '--launcher' in done.stdout


def test_installed_configs_load(installed):
    code = (
        'import sys; from mmengine.config import Config; '
        'cfg = Config.fromfile(sys.argv[1]); '
        'import nexusflow; print(cfg.model.type, nexusflow.__path__[0])'
    )
    config = installed / 'nexusflow' / '.mim' / 'configs' / 'nexusflow' / 'nexusflow_tiny.py'
    done = run(installed, '-c', code, config)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ['NexusMapTrackDetector', f'{installed}/nexusflow']


@pytest.mark.skipif(BASH is None, reason='needs bash')
@pytest.mark.parametrize('script', sorted(p.name for p in (ROOT / 'tools').glob('*.sh')))
def test_shell_scripts_say_how_they_are_used(script):
    done = subprocess.run([BASH, ROOT / 'tools' / script], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f'Usage: {script} ')
    subprocess.run([BASH, '-n', ROOT / 'tools' / script], check=True)


@pytest.mark.skipif(BASH is None, reason='needs bash')
def test_dist_train_starts_the_processes(tmp_path):
    """With ``echo`` as Python the script shows the command that it runs."""
    done = subprocess.run(
        [BASH, ROOT / 'tools' / 'dist_train.sh', 'x.py', '2', '--amp'],
        env={'PYTHON': 'echo', 'PATH': os.environ['PATH'], 'PORT': '123'},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith('-m torch.distributed.run --nnodes=1 --node_rank=0')
    assert '--nproc_per_node=2 --master_addr=127.0.0.1 --master_port=123' in done.stdout
    assert done.stdout.strip().endswith('train.py x.py --launcher pytorch --amp')


@pytest.mark.skipif(BASH is None, reason='needs bash')
@pytest.mark.parametrize(
    ('script', 'command'),
    [
        ('slurm_train.sh', 'train.py x.py --work-dir out --amp --launcher slurm'),
        ('slurm_test.sh', 'test.py x.py out --amp --launcher slurm'),
    ],
)
def test_slurm_scripts_start_the_job(script, command, tmp_path):
    """With an ``srun`` that prints its arguments."""
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\necho "$@"\n')
    srun.chmod(0o755)
    done = subprocess.run(
        [BASH, ROOT / 'tools' / script, 'gpu', 'job', 'x.py', 'out', '--amp'],
        env={'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'GPUS': '16', 'SRUN_ARGS': '--qos=a -v'},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith('-p gpu --job-name=job --gres=gpu:8 --ntasks=16')
    assert '--kill-on-bad-exit=1 --qos=a -v python -u ' in done.stdout
    assert done.stdout.strip().endswith(command)
