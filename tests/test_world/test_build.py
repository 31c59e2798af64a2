# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Making worlds: the same bytes for any number of workers, all or nothing, clear refusals."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nexusflow.world import build
from nexusflow.world.build import PRESETS, WorldSpec, make_world, preset
from nexusflow.world.parts import plan_parts
from nexusflow.world.staging import RECORD_NAME, is_complete, staged_folder, staging_path
from nexusflow.world.workers import WorkerPool

REPO = Path(__file__).resolve().parents[2]
NO_PROCESS = 2**22 + 1
"""Larger than any process id of Linux."""


def digest(root):
    """SHA-256 over the names and bytes of all files."""
    total = hashlib.sha256()
    for path in sorted(p for p in root.rglob('*') if p.is_file()):
        total.update(str(path.relative_to(root)).encode() + b'\0' + path.read_bytes())
    return total.hexdigest()


def make_world_cli(*arguments):
    environment = {**os.environ, 'PYTHONPATH': str(REPO / 'projects')}
    return subprocess.run(
        [sys.executable, str(REPO / 'tools' / 'make_world.py'), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def quick(monkeypatch):
    """Replaces roads, traffic and pictures, so that only the making itself is tested."""
    monkeypatch.setattr(build, '_build_parts', lambda jobs, pool, progress: jobs)

    def write(root, parts, spec, seed, pool, progress):
        (root / 'samples').mkdir()
        (root / 'samples' / 'picture').write_text(f'{spec.domain_gap} {seed}')

    monkeypatch.setattr(build, '_write', write)
    return monkeypatch


def test_two_workers_write_the_same_bytes(tiny_world, tiny_spec, tmp_path):
    assert make_world(tmp_path / 'again', tiny_spec, seed=0, workers=2, progress=False)
    assert digest(tmp_path / 'again') == digest(tiny_world)
    assert [path.name for path in tmp_path.iterdir()] == ['again']


def test_record_holds_no_path_of_this_machine(tiny_world, tiny_world_av2):
    for root in (tiny_world, tiny_world_av2):
        record = json.loads((root / RECORD_NAME).read_text())
        assert record['seed'] == 0
        assert record['spec']['image_size_wh'] == [160, 90]
        assert not any('/' in log for log in record['spec']['av2_logs'])


def test_networks_of_train_and_val_are_different_ones():
    jobs = plan_parts(PRESETS['demo'], seed=0)
    places = {
        split: {(j.location, j.index) for j in jobs if j.split == split}
        for split in ('train', 'val')
    }
    assert not places['train'] & places['val']
    assert len(places['train']) == 8 and len(places['val']) == 4
    assert sum(job.scenes for job in jobs if job.split == 'train') == 44


def test_same_recipe_is_not_made_twice(quick, tmp_path):
    out = tmp_path / 'world'
    assert make_world(out, WorldSpec(), 1, 1, progress=False)
    quick.setattr(build, 'plan_parts', None)
    assert not make_world(out, WorldSpec(), 1, 1, progress=False)


def test_other_recipe_at_out_is_refused_or_replaced(quick, tmp_path):
    out = tmp_path / 'world'
    make_world(out, WorldSpec(), 1, 1, progress=False)
    other = WorldSpec(domain_gap=0.5)
    with pytest.raises(FileExistsError, match=r'domain_gap 1.0 instead of 0.5.*--overwrite'):
        make_world(out, other, 1, 1, progress=False)
    with pytest.raises(FileExistsError, match='seed 1 instead of 2.*use another --out'):
        make_world(out, WorldSpec(), 2, 1, progress=False)
    assert make_world(out, other, 2, 1, progress=False, overwrite=True)
    assert (out / 'samples' / 'picture').read_text() == '0.5 2'
    assert [path.name for path in tmp_path.iterdir()] == ['world']


def test_folder_with_other_content_is_never_removed(quick, tmp_path):
    (tmp_path / 'thesis').mkdir()
    (tmp_path / 'thesis' / 'chapter').write_text('1')
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match='is not a world.*world.json'):
            make_world(tmp_path / 'thesis', WorldSpec(), 0, 1, False, overwrite)
    assert (tmp_path / 'thesis' / 'chapter').exists()
    (tmp_path / 'empty').mkdir()
    assert make_world(tmp_path / 'empty', WorldSpec(), 0, 1, progress=False)


def test_failure_leaves_nothing(quick, tmp_path):
    def fail(root, *_):
        (root / 'half').write_text('x')
        raise RuntimeError('disk on fire')

    quick.setattr(build, '_write', fail)
    with pytest.raises(RuntimeError, match='disk on fire'):
        make_world(tmp_path / 'world', WorldSpec(), 0, 1, progress=False)
    assert not list(tmp_path.iterdir())


def test_killed_generation_is_removed_and_made_again(quick, tmp_path):
    out = tmp_path / 'world'
    code = (
        'import os, signal, sys; from pathlib import Path\n'
        'from nexusflow.world.staging import staged_folder\n'
        'with staged_folder(Path(sys.argv[1])) as root:\n'
        "    (root / 'world.json').write_text('{}')\n"
        '    os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    environment = {**os.environ, 'PYTHONPATH': str(REPO / 'projects')}
    killed = subprocess.run([sys.executable, '-c', code, str(out)], env=environment)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith('world.partial-') and not out.exists()
    assert make_world(out, WorldSpec(), 0, 1, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ['world']


def test_folder_of_a_running_process_is_left_alone(tmp_path):
    out = tmp_path / 'world'
    mine, stale = staging_path(out, os.getppid()), staging_path(out, NO_PROCESS)
    # of another machine on the same file system
    foreign = tmp_path / f'world.partial-elsewhere-{NO_PROCESS}'
    for path in (mine, stale, foreign):
        path.mkdir()
    with staged_folder(out) as root:
        assert mine.exists() and foreign.exists() and not stale.exists() and root.exists()


def test_a_world_that_was_being_replaced_when_the_process_was_killed_comes_back(tmp_path):
    out = tmp_path / 'world'
    former = staging_path(out, NO_PROCESS, 'former')
    former.mkdir()
    (former / 'old').touch()
    with pytest.raises(RuntimeError, match='on fire'), staged_folder(out):
        raise RuntimeError('disk on fire')
    assert [path.name for path in out.iterdir()] == ['old'] and not former.exists()
    # with a world in place it is what was to be removed
    former.mkdir()
    with staged_folder(out) as root:
        (root / 'new').touch()
    assert [path.name for path in out.iterdir()] == ['new'] and not former.exists()


def test_unreadable_record_is_not_trusted(tmp_path):
    (tmp_path / RECORD_NAME).write_text('{"schema": ')
    with pytest.raises(FileExistsError, match='no readable world.json'):
        is_complete(tmp_path, {'seed': 0}, overwrite=False)


def _die(job):
    if job == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return job * 10


def _raise(job):
    raise ValueError(f'job {job}')


def _square(job):
    return job * job


def test_jobs_run_in_processes_and_their_errors_arrive():
    with WorkerPool(1) as pool:
        assert dict(pool.run(_square, [3, 4, 5])) == {0: 9, 1: 16, 2: 25}
    with WorkerPool(2) as pool:
        assert dict(pool.run(_square, [3, 4, 5])) == {0: 9, 1: 16, 2: 25}
        with pytest.raises(ValueError, match='job 1'):
            list(pool.run(_raise, [1, 1]))


def test_workers_do_not_run_the_script_again(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(
        'import math\n'
        'from nexusflow.world.workers import WorkerPool\n'
        "print('once')\n"
        'with WorkerPool(2) as pool:\n'
        '    print(sorted(pool.run(math.sqrt, [4.0, 9.0])))\n'
    )
    environment = {**os.environ, 'PYTHONPATH': str(REPO / 'projects')}
    run = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True
    )
    assert run.stdout == 'once\n[(0, 2.0), (1, 3.0)]\n', run.stderr


def test_killed_worker_is_reported():
    with WorkerPool(2) as pool, pytest.raises(RuntimeError, match='killed .*--workers'):
        list(pool.run(_die, [1, 2]))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'source': 'lidar'}, "source: 'lidar' is unknown"),
        ({'domain_gap': 1.5}, r'domain_gap: must lie in \[0, 1\]'),
        ({'frames_per_scene': 1}, 'frames_per_scene: at least 2'),
        ({'train_networks_per_city': 0}, '22 scenes on 0 networks'),
        ({'val_scenes_per_city': -1}, 'val_scenes_per_city'),
        ({'train_scenes_per_city': 0, 'val_scenes_per_city': 0}, 'no scene at all'),
        ({'image_size_wh': (0, 180)}, 'image_size_wh'),
        ({'source': 'av2'}, 'needs at least one log: --av2-log'),
        ({'av2_logs': ('x',)}, '--source av2'),
    ],
)
def test_bad_recipes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(WorldSpec(), **changes)


def test_bad_calls_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="preset 'huge' is unknown; one of bench, demo"):
        preset('huge')
    with pytest.raises(ValueError, match='workers: at least 1'):
        make_world(tmp_path / 'w', WorldSpec(), 0, 0)
    missing = WorldSpec(source='av2', av2_logs=(str(tmp_path / 'log'),))
    with pytest.raises(FileNotFoundError, match='log: there is no such folder'):
        make_world(tmp_path / 'w', missing, 0, 1)
    twice = WorldSpec(source='av2', av2_logs=(str(tmp_path), str(tmp_path)))
    with pytest.raises(ValueError, match='given twice'):
        make_world(tmp_path / 'w', twice, 0, 1)
    assert not list(tmp_path.iterdir())


def test_changed_log_of_the_same_name_is_another_world(tiny_world_av2, av2_log_dir, tmp_path):
    log = Path(shutil.copytree(av2_log_dir, tmp_path / av2_log_dir.name))
    spec = WorldSpec(source='av2', av2_logs=(str(log),), image_size_wh=(160, 90))
    assert not make_world(tiny_world_av2, spec, 0, 1, progress=False)
    map_file = next((log / 'map').glob('log_map_archive_*.json'))
    map_file.write_text(map_file.read_text() + '\n')
    with pytest.raises(FileExistsError):
        make_world(tiny_world_av2, spec, 0, 1, progress=False)


def test_log_without_its_map_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / 'log').mkdir()
    spec = WorldSpec(source='av2', av2_logs=(str(tmp_path / 'log'),))
    with pytest.raises(FileNotFoundError, match='log_map_archive'):
        make_world(tmp_path / 'w', spec, 0, 1, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ['log']


def test_command_line_gives_one_line_per_error(tmp_path):
    run = make_world_cli('--out', tmp_path / 'w', '--preset', 'huge')
    assert run.returncode == 2
    assert run.stderr == "error: preset 'huge' is unknown; one of bench, demo\n"
    run = make_world_cli('--out', tmp_path / 'w', '--source', 'av2', '--av2-log', tmp_path / 'no')
    assert run.returncode == 2
    assert 'no such folder' in run.stderr and 'Traceback' not in run.stderr
