# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Commands that build on each other, each run once: a second call does what is missing only.

A finished stage leaves a record with a key: the digest of its command, of the sources that it
depends on, and of the keys of the stages before it. It is run again when its key differs or its
outputs are gone.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

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
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    kind: str = ''
    seconds: float = 60.0
    outputs: tuple[Path, ...] = ()
    folder: Path | None = None
    sources: str = ''


class StageRunner:
    """Runs stages, up to ``jobs`` at the same time.

    Args:
        stages: In an order in which each one's needs stand before it.
        records: Folder of records and logs; it is locked, so that no two runs share it.
        jobs: How many commands run at the same time.
        env: Environment of the commands.
        write: Receives one line of progress every ``interval`` seconds.
        interval: Seconds between lines.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        records: Path,
        jobs: int = 1,
        env: Mapping[str, str] | None = None,
        write: Callable[[str], object] = lambda line: None,
        interval: float = 10.0,
    ) -> None:
        self.stages = {stage.name: stage for stage in stages}
        self.records, self.jobs, self.interval = records, jobs, interval
        self.env = dict(os.environ if env is None else env)
        self.write = write
        self.keys: dict[str, str] = {}
        for stage in stages:
            self.keys[stage.name] = self._key(stage)
        tasks = {stage.name: Task(stage.kind or stage.name, stage.seconds) for stage in stages}
        self.estimate = Estimate(tasks, jobs)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self) -> dict[str, float]:
        """Run what is missing.

        Returns:
            Seconds of each stage, also of those that an earlier call ran.

        Raises:
            RuntimeError: If a command fails (its last lines are quoted), or another run uses the
                folder.
        """
        self.records.mkdir(parents=True, exist_ok=True)
        with self._locked() as lock, ThreadPoolExecutor(self.jobs) as pool:
            try:
                self._run_all(pool, lock)
            except BaseException:
                for process in list(self._running.values()):
                    process.terminate()
                raise
        return {name: self._record(name)['seconds'] for name in self.stages}

    def _run_all(self, pool: ThreadPoolExecutor, lock: int) -> None:
        tasks = self.estimate.tasks
        waiting = [stage for stage in self.stages.values() if not self._finish_known(stage)]
        running: set[Future[None]] = set()
        while waiting or running:
            for stage in list(waiting):
                ready = all(tasks[name].took_s is not None for name in stage.needs)
                if ready and len(running) < self.jobs:
                    waiting.remove(stage)
                    running.add(pool.submit(self._run_stage, stage, lock))
            done, running = wait(running, self.interval, FIRST_COMPLETED)
            for future in done:
                future.result()
            if running or not waiting:
                self.write(self.estimate.line())

    def _finish_known(self, stage: Stage) -> bool:
        """Whether an earlier call has run the stage as it is now."""
        known = self._record(stage.name).get('key') == self.keys[stage.name]
        if known and all(path.exists() for path in stage.outputs):
            self.estimate.tasks[stage.name].finish()
            return True
        return False

    def _run_stage(self, stage: Stage, lock: int) -> None:
        """Run one command to its end and leave the record."""
        begun = self.records / f'{stage.name}.begun'
        key = self.keys[stage.name]
        goes_on = begun.exists() and begun.read_text() == key
        if stage.folder is not None and not goes_on:
            shutil.rmtree(stage.folder, ignore_errors=True)
        spent = self._record(stage.name).get('seconds', 0.0) if goes_on else 0.0
        self._write_record(stage, '', spent)
        begun.write_text(key)
        task = self.estimate.tasks[stage.name]
        task.started = time.monotonic()
        with open(self.records / f'{stage.name}.log', 'ab') as log:
            status, tail = self._follow(stage, task, log, lock)
        seconds = spent + time.monotonic() - task.started
        missing = [str(path) for path in stage.outputs if not path.exists()]
        if status != 0 or missing:
            self._write_record(stage, '', seconds)
            reason = f'ended with status {status}' if status else f'did not write {missing}'
            raise RuntimeError(
                f"stage '{stage.name}' {reason}; log: {log.name}\n{last_lines(tail)}"
            )
        self._write_record(stage, key, seconds)
        begun.unlink()
        task.finish()

    def _follow(self, stage: Stage, task: Task, log: IO[bytes], lock: int) -> tuple[int, list[str]]:
        """Copy a command's output into its log; its exit status and its last lines."""
        tail: list[str] = []
        with subprocess.Popen(
            stage.command,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A command that outlives this process keeps the folder locked.
            pass_fds=(lock,),
        ) as process:
            self._running[stage.name] = process
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
        text = json.dumps([stage.command, stage.sources, before])
        return hashlib.sha256(text.encode()).hexdigest()

    def _record(self, name: str) -> dict:
        path = self.records / f'{name}.json'
        return json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}

    def _write_record(self, stage: Stage, key: str, seconds: float) -> None:
        path = self.records / f'{stage.name}.json'
        unfinished = path.with_suffix('.tmp')
        record = {'key': key, 'seconds': seconds, 'command': list(stage.command)}
        unfinished.write_text(json.dumps(record, indent=2), encoding='utf-8')
        os.replace(unfinished, path)


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
