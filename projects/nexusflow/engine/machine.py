# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The machine in a line: times are compared on one machine only."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

CPU_INFO = Path('/proc/cpuinfo')


def machine_name() -> str:
    """System, processor, cores and GPUs.

    Example:
        >>> f'{os.cpu_count()} cores' in machine_name()
        True
    """
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ', '.join([platform.platform(), _processor(), f'{os.cpu_count()} cores', *gpus])


def _processor() -> str:
    """Its name where the system tells it (Linux), else its kind."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.is_file() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()
