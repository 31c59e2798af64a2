# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import dataclasses
import fcntl
import sys
import time
from pathlib import Path

import pytest

from nexusflow.engine.stages import Stage, StageRunner, digest_of

APPEND = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"


def appending(name, path, needs=(), text=None, **kwargs):
    """A stage that appends its name to a file, so that every run of it shows."""
    command = (sys.executable, '-c', APPEND, str(path), text or name)
    return Stage(name, command, needs, outputs=(path,), **kwargs)


@pytest.fixture
def chain(tmp_path):
    first = appending('first', tmp_path / 'a')
    return [first, appending('second', tmp_path / 'b', needs=('first',))]


def run(stages, tmp_path, **kwargs):
    return StageRunner(stages, tmp_path / 'records', interval=0.1, **kwargs).run()


def test_each_stage_runs_once(chain, tmp_path):
    seconds = run(chain, tmp_path)
    assert run(chain, tmp_path) == seconds and all(value > 0 for value in seconds.values())
    assert (tmp_path / 'a').read_text() == 'first'
    assert (tmp_path / 'b').read_text() == 'second'


def test_a_change_runs_the_stage_and_what_follows(chain, tmp_path):
    run(chain, tmp_path)
    run([dataclasses.replace(chain[0], sources='other'), chain[1]], tmp_path)
    assert (tmp_path / 'a').read_text() == 'firstfirst'
    assert (tmp_path / 'b').read_text() == 'secondsecond'
    run([dataclasses.replace(chain[0], sources='other'), chain[1]], tmp_path)
    assert (tmp_path / 'b').read_text() == 'secondsecond'


def test_a_lost_output_is_made_again(chain, tmp_path):
    run(chain, tmp_path)
    (tmp_path / 'b').unlink()
    run(chain, tmp_path)
    assert (tmp_path / 'a').read_text() == 'first'
    assert (tmp_path / 'b').read_text() == 'second'


def test_a_failed_stage_goes_on_in_its_folder_unless_it_changed(tmp_path):
    folder = tmp_path / 'work'
    code = (
        'import pathlib, sys; f = pathlib.Path(sys.argv[1]); f.mkdir(exist_ok=True); '
        "n = len(list(f.iterdir())); (f / str(n)).touch(); print('state', n); sys.exit(n < 1)"
    )
    stage = Stage('work', (sys.executable, '-c', code, str(folder)), folder=folder)
    with pytest.raises(
        RuntimeError, match=r"stage 'work' ended with status 1; log: (?s:.*)state 0"
    ):
        run([stage], tmp_path)
    run([stage], tmp_path)
    assert len(list(folder.iterdir())) == 2
    with pytest.raises(RuntimeError, match='status 1'):
        run([dataclasses.replace(stage, sources='other')], tmp_path)
    assert len(list(folder.iterdir())) == 1


def test_a_missing_output_is_an_error(tmp_path):
    stage = Stage('idle', (sys.executable, '-c', ''), outputs=(tmp_path / 'none',))
    with pytest.raises(RuntimeError, match=r"'idle' did not write \['.*none'\]"):
        run([stage], tmp_path)


def test_independent_stages_run_at_the_same_time(tmp_path):
    """Each waits for the other's file; one after the other they would both time out."""
    code = (
        'import pathlib, sys, time; mine, other = map(pathlib.Path, sys.argv[1:]); mine.touch()\n'
        'end = time.monotonic() + 20\n'
        'while not other.exists(): time.sleep(0.01); assert time.monotonic() < end'
    )
    a, b = tmp_path / 'a', tmp_path / 'b'
    stages = [
        Stage('a', (sys.executable, '-c', code, str(a), str(b))),
        Stage('b', (sys.executable, '-c', code, str(b), str(a))),
    ]
    lines = []
    run(stages, tmp_path, jobs=2, write=lines.append)
    assert lines and lines[-1].startswith('[100%]')


def test_progress_is_read_from_the_output(tmp_path):
    code = "import time; print('Iter(train) [ 3/4]', flush=True); time.sleep(0.5)"
    lines = []
    run([Stage('train', (sys.executable, '-c', code))], tmp_path, write=lines.append)
    assert any('train 75%' in line for line in lines)
    assert '[ 3/4]' in (tmp_path / 'records' / 'train.log').read_text()


def test_two_runs_do_not_share_a_folder(chain, tmp_path):
    (tmp_path / 'records').mkdir()
    with open(tmp_path / 'records' / 'lock', 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RuntimeError, match='is in use by another run'):
            run(chain, tmp_path)
    run(chain, tmp_path)


def test_digest_follows_names_and_contents(tmp_path):
    folder = tmp_path / 'code'
    folder.mkdir()
    (folder / 'a.py').write_text('1')
    before = digest_of([folder])
    (folder / 'b.txt').write_text('no source')
    assert digest_of([folder]) == before
    (folder / 'a.py').write_text('2')
    changed = digest_of([folder])
    (folder / 'a.py').rename(folder / 'c.py')
    assert len({before, changed, digest_of([folder])}) == 3


def test_what_a_killed_command_leaves_is_ended(tmp_path):
    """A process that keeps the output open and ignores its end would be waited for without end."""
    code = (
        'import os, signal, subprocess, sys; '
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']); "
        "open(sys.argv[1], 'w').write(str(child.pid)); os.kill(os.getpid(), signal.SIGKILL)"
    )
    stage = Stage('killed', (sys.executable, '-c', code, str(tmp_path / 'pid')))
    with pytest.raises(RuntimeError, match='status -9'):
        run([stage], tmp_path)
    pid = int((tmp_path / 'pid').read_text())
    end = time.monotonic() + 20
    while Path(f'/proc/{pid}').exists() and ' Z ' not in Path(f'/proc/{pid}/stat').read_text():
        time.sleep(0.05)
        assert time.monotonic() < end


def test_with_keep_going_only_what_needs_a_failed_stage_is_left_out(tmp_path):
    bad = Stage('bad', (sys.executable, '-c', "import sys; sys.exit('no luck')"))
    stages = [
        bad,
        appending('after', tmp_path / 'after', needs=('bad',)),
        appending('later', tmp_path / 'later', needs=('after',)),
        appending('free', tmp_path / 'free'),
    ]
    runner = StageRunner(stages, tmp_path / 'records', interval=0.1, keep_going=True)
    assert set(runner.run()) == {'free'}
    assert list(runner.failures) == ['bad'] and 'no luck' in runner.failures['bad']
    assert [runner.is_finished(s.name) for s in stages] == [False, False, False, True]


def test_nothing_is_started_after_the_time(chain, tmp_path):
    slow = Stage('slow', (sys.executable, '-c', 'import time; time.sleep(0.5)'))
    seconds = run([slow, *chain], tmp_path, max_seconds=0.2)
    assert set(seconds) == {'slow'}
    assert set(run([slow, *chain], tmp_path)) == {'slow', 'first', 'second'}


def test_identity_stands_for_the_command_and_notes_are_kept(tmp_path):
    stage = appending('one', tmp_path / 'a', identity='same')
    run([stage], tmp_path, note=lambda: {'code': 1})
    moved = dataclasses.replace(stage, command=(*stage.command, 'more'))
    runner = StageRunner([moved], tmp_path / 'records', note=lambda: {'code': 2})
    runner.run()
    assert (tmp_path / 'a').read_text() == 'one' and runner.record('one')['notes'] == [{'code': 1}]


def test_slots_are_shared_by_what_runs_at_the_same_time(tmp_path):
    code = "import os, sys; open(sys.argv[1], 'w').write(os.environ['SLOT'])"
    stages = [Stage(str(i), (sys.executable, '-c', code, str(tmp_path / f'{i}'))) for i in range(4)]
    run(stages, tmp_path, jobs=2, slots=[{'SLOT': 'a'}, {'SLOT': 'b'}])
    assert {(tmp_path / f'{i}').read_text() for i in range(4)} == {'a', 'b'}
