# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Commands that build on each other, each run once: a second call does what is missing only.

A finished stage leaves a record with a key: the digest of its identity (its command, unless another
one is given), of the sources that it depends on, and of the keys of the stages before it. It is run
again when its key differs or its outputs are gone.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import FrameType
from typing import IO, Any

from .progress import Estimate, Task, fraction_in, last_lines


@dataclass(frozen=True)
class Stage:
    """A command and what it makes.

    Attributes:
        name: Unique; also names its log and record.
        command: Program and arguments.
        needs: Names of stages before it.
        kind: Stages of one kind take about the same time.
        seconds: Guess of its time.
        outputs: Files that exist when it is done.
        folder: Emptied before the stage starts anew; left as it is when the stage goes on after it
            was interrupted.
        sources: Digest of the code that it depends on.
        identity: What makes it the same stage as one of an earlier call, where the command says too
            much: a folder, a number of workers. The command by default.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    kind: str = ''
    seconds: float = 60.0
    outputs: tuple[Path, ...] = ()
    folder: Path | None = None
    sources: str = ''
    identity: str = ''


class StageRunner:
    """Runs stages, up to ``jobs`` at the same time.

    Args:
        stages: In an order in which each one's needs stand before it.
        records: Folder of records and logs; it is locked, so that no two runs share it.
        jobs: How many commands run at the same time.
        env: Environment of the commands.
        write: Receives one line of progress every ``interval`` seconds.
        interval: Seconds between lines.
        keep_going: Whether a failed stage only keeps those that need it from running; it is then
            found in :attr:`failures`.
        max_seconds: After so long no further stage is started; None: no limit.
        slots: Variables added to the environment of what runs at the same time, e.g. a device each;
            more jobs than slots share them.
        note: Gives facts about the moment that a stage's record keeps, e.g. the state of the code.

    Attributes:
        failures: Error of each stage that failed in this call.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        records: Path,
        jobs: int = 1,
        env: Mapping[str, str] | None = None,
        write: Callable[[str], object] = lambda line: None,
        interval: float = 10.0,
        keep_going: bool = False,
        max_seconds: float | None = None,
        slots: Sequence[Mapping[str, str]] = (),
        note: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self.stages = {stage.name: stage for stage in stages}
        self.records, self.jobs, self.interval = records, jobs, interval
        self.env = dict(os.environ if env is None else env)
        self.write, self.note = write, note
        self.keep_going, self.max_seconds = keep_going, max_seconds
        self.failures: dict[str, str] = {}
        self._slots: SimpleQueue[Mapping[str, str]] = SimpleQueue()
        for job in range(jobs):
            self._slots.put(slots[job % len(slots)] if slots else {})
        self.keys: dict[str, str] = {}
        for stage in stages:
            self.keys[stage.name] = self._key(stage)
        tasks = {stage.name: Task(stage.kind or stage.name, stage.seconds) for stage in stages}
        self.estimate = Estimate(tasks, jobs)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self) -> dict[str, float]:
        """Run what is missing.

        Returns:
            Seconds of each finished stage, also of those that an earlier call ran.

        Raises:
            RuntimeError: If a command fails (its last lines are quoted) and ``keep_going`` is off, or
                another run uses the folder.
        """
        self.records.mkdir(parents=True, exist_ok=True)
        with self._locked() as lock, ThreadPoolExecutor(self.jobs) as pool:
            try:
                self._run_all(pool, lock)
            except BaseException:
                for process in list(self._running.values()):
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGTERM)
                raise
        finished = (name for name in self.stages if self.is_finished(name))
        return {name: self.record(name)['seconds'] for name in finished}

    def is_finished(self, name: str) -> bool:
        """Whether this or an earlier call has run the stage as it is now."""
        known = self.record(name).get('key') == self.keys[name]
        return known and all(path.exists() for path in self.stages[name].outputs)

    def record(self, name: str) -> dict[str, Any]:
        """What a stage left: its key, seconds, command and notes; empty before its first start."""
        path = self.records / f'{name}.json'
        return json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}

    def _run_all(self, pool: ThreadPoolExecutor, lock: int) -> None:
        tasks = self.estimate.tasks
        done = {name for name in self.stages if self.is_finished(name)}
        for name in done:
            tasks[name].finish()
        waiting = [stage for stage in self.stages.values() if stage.name not in done]
        running: dict[Future[None], str] = {}
        end = None if self.max_seconds is None else time.monotonic() + self.max_seconds
        while waiting or running:
            for stage in list(waiting):
                in_time = end is None or time.monotonic() < end
                if in_time and len(running) < self.jobs and done.issuperset(stage.needs):
                    waiting.remove(stage)
                    running[pool.submit(self._run_stage, stage, lock)] = stage.name
            if not running:
                return
            for future in wait(running, self.interval, FIRST_COMPLETED).done:
                name = running.pop(future)
                if self._went_well(future, name):
                    done.add(name)
                tasks[name].finish()
            waiting = self._without_hope_dropped(waiting)
            if running or not waiting:
                self.write(self.estimate.line())

    def _went_well(self, future: Future[None], name: str) -> bool:
        """Whether a stage ended well; if not, its error is kept or raised."""
        try:
            future.result()
        except RuntimeError as error:
            if not self.keep_going:
                raise
            self.failures[name] = str(error)
            return False
        return True

    def _without_hope_dropped(self, waiting: Sequence[Stage]) -> list[Stage]:
        """The stages that do not need a failed one, directly or through others."""
        lost, kept = set(self.failures), []
        for stage in waiting:
            if lost.isdisjoint(stage.needs):
                kept.append(stage)
            else:
                lost.add(stage.name)
                self.estimate.tasks[stage.name].finish()
        return kept

    def _run_stage(self, stage: Stage, lock: int) -> None:
        """Run one command to its end and leave the record."""
        begun = self.records / f'{stage.name}.begun'
        key = self.keys[stage.name]
        goes_on = begun.exists() and begun.read_text() == key
        if stage.folder is not None and not goes_on:
            shutil.rmtree(stage.folder, ignore_errors=True)
        before = self.record(stage.name) if goes_on else {}
        spent, notes = before.get('seconds', 0.0), [*before.get('notes', []), dict(self.note())]
        self._write_record(stage, '', spent, notes)
        begun.write_text(key)
        task = self.estimate.tasks[stage.name]
        task.started = time.monotonic()
        slot = self._slots.get()
        try:
            with open(self.records / f'{stage.name}.log', 'ab') as log:
                status, tail = self._follow(stage, task, log, lock, slot)
        finally:
            self._slots.put(slot)
        seconds = spent + time.monotonic() - task.started
        missing = [str(path) for path in stage.outputs if not path.exists()]
        if status != 0 or missing:
            self._write_record(stage, '', seconds, notes)
            reason = f'ended with status {status}' if status else f'did not write {missing}'
            raise RuntimeError(
                f"stage '{stage.name}' {reason}; log: {log.name}\n{last_lines(tail)}"
            )
        self._write_record(stage, key, seconds, notes)
        begun.unlink()

    def _follow(
        self, stage: Stage, task: Task, log: IO[bytes], lock: int, slot: Mapping[str, str]
    ) -> tuple[int, list[str]]:
        """Copy a command's output into its log; its exit status and its last lines."""
        tail: list[str] = []
        with subprocess.Popen(
            stage.command,
            env={**self.env, **slot},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A command that outlives this process keeps the folder locked.
            pass_fds=(lock,),
            # A process group of its own, so that all of it can be ended.
            start_new_session=True,
        ) as process:
            self._running[stage.name] = process
            Thread(target=end_what_is_left, args=(process.pid,), daemon=True).start()
            assert process.stdout is not None
            for line in lines_of(process.stdout, log):
                tail = [*tail[-40:], line]
                task.fraction = fraction_in(line) or task.fraction
        del self._running[stage.name]
        return process.returncode, tail

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the folder's lock; gives its file descriptor."""
        path = self.records / 'lock'
        with open(path, 'w', encoding='utf-8') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RuntimeError(
                    f"folder '{self.records}' is in use by another run, or by a command that an "
                    'ended run has left; wait for it or end it, or choose another folder'
                ) from error
            yield file.fileno()

    def _key(self, stage: Stage) -> str:
        before = [self.keys[name] for name in stage.needs]
        text = json.dumps([stage.identity or stage.command, stage.sources, before])
        return hashlib.sha256(text.encode()).hexdigest()

    def _write_record(
        self, stage: Stage, key: str, seconds: float, notes: Sequence[Mapping[str, Any]]
    ) -> None:
        path = self.records / f'{stage.name}.json'
        unfinished = path.with_suffix('.tmp')
        record = {'key': key, 'seconds': seconds, 'command': list(stage.command)}
        record['notes'] = list(notes)
        unfinished.write_text(json.dumps(record, indent=2), encoding='utf-8')
        os.replace(unfinished, path)


def command_environment(jobs: int, variables: Mapping[str, str]) -> dict[str, str]:
    """Environment of commands that run at the same time: this package, a fair share of the cores.

    Args:
        jobs: How many run at the same time.
        variables: What they get beside it.
    """
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    package = str(Path(__file__).parents[2])
    return {
        'OMP_NUM_THREADS': threads,
        'MKL_NUM_THREADS': threads,
        **os.environ,
        **variables,
        'PYTHONPATH': os.pathsep.join([package, os.environ.get('PYTHONPATH', '')]),
    }


def end_on(number: int, frame: FrameType | None) -> None:
    """Handler of a signal (``signal.signal(signal.SIGTERM, end_on)``): a runner then ends its commands too.

    Raises:
        SystemExit: With the status that shells give for the signal.
    """
    sys.exit(128 + number)


def end_what_is_left(leader: int) -> None:
    """Wait for the end of a process group's leader, then kill the rest of the group.

    Processes that load data do not always notice that the training was killed. They would keep its
    output open and the folder locked. The leader is left to be waited for, so its number is not
    given to another process meanwhile.

    Args:
        leader: Number of the process and of its group.
    """
    # It may have been waited for already, or have been alone.
    with suppress(ChildProcessError, ProcessLookupError):
        os.waitid(os.P_PID, leader, os.WEXITED | os.WNOWAIT)
        os.killpg(leader, signal.SIGKILL)


def lines_of(stream: IO[bytes], log: IO[bytes]) -> Iterator[str]:
    """Lines of a running command, also those that end with a carriage return; all go to a log."""
    rest = b''
    while chunk := os.read(stream.fileno(), 1 << 16):
        log.write(chunk)
        log.flush()
        *lines, rest = re.split(rb'[\r\n]', rest + chunk)
        yield from (line.decode(errors='replace') for line in lines if line)
    if rest:
        yield rest.decode(errors='replace')


def digest_of(paths: Sequence[Path]) -> str:
    """Digest of the Python files under some folders: their names below the folder, and contents."""
    total = hashlib.sha256()
    for path in paths:
        files = sorted(path.rglob('*.py')) if path.is_dir() else [path]
        for file in files:
            total.update(f'{file.relative_to(path.parent)}\0'.encode())
            total.update(file.read_bytes())
    return total.hexdigest()
