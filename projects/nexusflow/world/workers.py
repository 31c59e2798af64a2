# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Runs jobs over a pool of single-threaded processes that end with their parent."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

Job = TypeVar('Job')
Result = TypeVar('Result')


def run_jobs(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int
) -> Iterator[tuple[int, Result]]:
    """Calls a function on every job.

    Args:
        function: Importable at module level (processes are spawned, not forked).
        jobs: Picklable arguments, the longest ones first for a good use of the pool.
        workers: Number of processes; with 1 everything runs in this process.

    Yields:
        Index of a job and its result, in the order in which jobs end.

    Raises:
        RuntimeError: If a process dies, e.g. because the machine is out of memory.
    """
    if workers <= 1 or len(jobs) <= 1:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield from ((i, function(job)) for i, job in enumerate(jobs))
        finally:
            cv2.setNumThreads(threads)
        return
    pool = ProcessPoolExecutor(
        min(workers, len(jobs)), multiprocessing.get_context('spawn'), initializer=_start_worker
    )
    try:
        futures = {pool.submit(function, job): i for i, job in enumerate(jobs)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            'a worker process was killed (out of memory?): use fewer --workers'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the parent is killed; an idle worker would wait for jobs forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
