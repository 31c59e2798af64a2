# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Lets torch >= 2.6 read mmengine's own checkpoints with ``weights_only`` on.

A checkpoint of mmengine 0.10 holds its logged scalars as ``HistoryBuffer`` objects with numpy
arrays, and methods of these and of the one-cycle schedule. torch refuses them unless they are
declared harmless, and resuming and testing fail. Only what such a checkpoint needs is declared, so
a checkpoint still cannot run code.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.utils import digit_version

DTYPES = ('Bool', 'Float16', 'Float32', 'Float64', 'Int8', 'Int16', 'Int32', 'Int64', 'UInt8')


METHODS = {
    HistoryBuffer: ('min', 'max', 'current', 'mean'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}


def method_of(owner: type, name: str) -> Callable:
    """Stands for ``getattr`` in a checkpoint, where objects of mmengine name their methods by it.

    Raises:
        AttributeError: If anything but one of ``METHODS`` is asked for.
    """
    if name not in METHODS.get(owner, ()):
        raise AttributeError(f'a checkpoint may not ask for {name!r} of {owner!r}')
    return getattr(owner, name)


def register_safe_globals() -> None:
    """Declare mmengine's types, and what numpy arrays of plain numbers are made of."""
    if digit_version(torch.__version__) < digit_version('2.6'):
        return
    core = 'numpy._core' if digit_version(np.__version__) >= digit_version('2.0') else 'numpy.core'
    multiarray = importlib.import_module(f'{core}.multiarray')
    torch.serialization.add_safe_globals(
        [
            *METHODS,
            np.ndarray,
            np.dtype,
            multiarray._reconstruct,
            multiarray.scalar,
            *(getattr(np.dtypes, f'{name}DType') for name in DTYPES),
            (method_of, 'builtins.getattr'),
        ]
    )


register_safe_globals()
