# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Which samples follow each other, and the clips that can be cut from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np


def scene_runs(samples: Sequence[Mapping[str, Any]]) -> list[range]:
    """Runs of consecutive key frames: same scene, and each is the ``next`` of the one before.

    Args:
        samples: Samples of an info file, sorted by scene and time.

    Returns:
        Index ranges that cover all samples in order; a scene with a gap gives several.
    """
    starts = [
        i
        for i, sample in enumerate(samples)
        if i == 0
        or sample['scene_token'] != samples[i - 1]['scene_token']
        or sample['prev'] != samples[i - 1]['token']
    ]
    return [range(a, b) for a, b in pairwise([*starts, len(samples)])]


def cut_clips(runs: Sequence[range], length: int, stride: int = 1) -> np.ndarray:
    """All clips of consecutive samples that stay within a run.

    Args:
        runs: Index ranges, see :func:`scene_runs`.
        length: Samples per clip.
        stride: Step between the starts of a run's clips.

    Returns:
        (C, length) sample indices; C is 0 when no run is long enough.
    """
    starts = [a for run in runs for a in range(run.start, run.stop - length + 1, stride)]
    return np.array(starts, dtype=np.int64).reshape(-1, 1) + np.arange(length)
