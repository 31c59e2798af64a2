# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Runs jobs over a pool of single-threaded processes that end with their parent."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from types import ModuleType, TracebackType
from typing import TypeVar

import cv2

Job = TypeVar('Job')
Result = TypeVar('Result')
#: Imported once, in the process that workers are forked from.
_PRELOAD = ('nexusflow.world.build', 'nexusflow.world.indoor.build')


class WorkerPool:
    """Processes that call functions on jobs; they stay from one call of ``run`` to the next.

    Args:
        workers: Number of processes; with 1 everything runs in this process.
    """

    def __init__(self, workers: int) -> None:
        self._pool: ProcessPoolExecutor | None = None
        if workers > 1:
            self._pool = ProcessPoolExecutor(workers, _context(), initializer=_start_worker)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def run(
        self, function: Callable[[Job], Result], jobs: Sequence[Job]
    ) -> Iterator[tuple[int, Result]]:
        """Calls a function on every job.

        Args:
            function: Importable at module level (processes start afresh, without the script that was run).
            jobs: Picklable arguments, the longest ones first for a good use of the pool.

        Yields:
            Index of a job and its result, in the order in which jobs end.

        Raises:
            RuntimeError: If a process dies, e.g. because the machine is out of memory.
        """
        if self._pool is None:
            threads = cv2.getNumThreads()
            cv2.setNumThreads(1)
            try:
                yield from ((i, function(job)) for i, job in enumerate(jobs))
            finally:
                cv2.setNumThreads(threads)
            return
        try:
            with _without_main():
                futures = {self._pool.submit(function, job): i for i, job in enumerate(jobs)}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                'a worker process was killed (out of memory?): use fewer --workers'
            ) from error


def _context() -> BaseContext:
    """How processes start: forked from one that has imported everything, where the system can do that."""
    if 'forkserver' not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context('spawn')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(list(_PRELOAD))
    return context


@contextmanager
def _without_main() -> Iterator[None]:
    """Hides the script that is running from processes that start.

    They would run it as a module first, which takes seconds if it imports, say, PyTorch.
    """
    script = sys.modules['__main__']
    sys.modules['__main__'] = ModuleType('__main__')
    try:
        yield
    finally:
        sys.modules['__main__'] = script


def _start_worker() -> None:
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the parent is killed; an idle worker would wait for jobs forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
