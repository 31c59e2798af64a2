# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Conversion of the tables and the map to info files, by one process."""

from __future__ import annotations

import argparse
import time

from nexusflow.datasets.info_file import load_info
from nexusflow.datasets.nuscenes_converter import ConvertSpec, convert

from .figures import Figure
from .world import VERSION, world_root

RATE = 'conversion'
FIGURES = {RATE: Figure('samples/s per core', goal=100.0)}


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Convert a world with one process."""
    spec = ConvertSpec(world_root(options), VERSION, options.folder / 'infos')
    start = time.perf_counter()
    paths = convert(spec, workers=1, force=True)
    seconds = time.perf_counter() - start
    samples = {s['token'] for path in paths.values() for s in load_info(path)['data_list']}
    return {RATE: len(samples) / seconds}
