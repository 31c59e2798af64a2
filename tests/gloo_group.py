# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Two processes that compute together, for any test module (pytest's ``pythonpath`` has this folder)."""

from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

TIMEOUT = timedelta(seconds=120)


@contextmanager
def gloo_group(rank, folder):
    """Be process ``rank`` of two on one thread; a collective that the other never enters fails in two minutes."""
    torch.set_num_threads(1)
    meet = f'file://{folder}/meet'
    dist.init_process_group('gloo', init_method=meet, rank=rank, world_size=2, timeout=TIMEOUT)
    yield
    dist.destroy_process_group()
