# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Settings of C libraries without which training on a CPU waits for them."""

from __future__ import annotations

import ctypes
import sys

from threadpoolctl import threadpool_limits

# parameters of mallopt(3)
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory for the next step.

    By default it gives large pieces back to the system at once, and the next step's activations are mapped, and set to
    zero, page by page again: on a CPU that takes a tenth of a training step. Call it before large tensors are made. The
    process then holds what it held at its highest.

    Returns:
        Whether there was a glibc to tell.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None) if sys.platform == 'linux' else None
    # to set one of them alone ends the adaption of the other, which is worse than neither
    return mallopt is not None and bool(
        mallopt(M_MMAP_THRESHOLD, 2**31 - 1) and mallopt(M_TRIM_THRESHOLD, -1)
    )


def keep_numpy_to_one_thread() -> None:
    """One thread for numpy's OpenBLAS, in this process and in those it forks.

    Its threads spin beside torch's on the same cores: to invert six matrices of 4 x 4 took 3 ms, and all of a batch's
    loading, where numpy inverts cameras and poses, more than twice as long as with one.
    """
    threadpool_limits({'openblas': 1})
