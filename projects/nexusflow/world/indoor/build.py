# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Writes a whole indoor data set in the layout of MTAN's NYUv2.

``<out>/{train,val}/{image,label,depth,normal}/<i>.npy``, i = 0..N-1. Each image's room is drawn from
the seed, the split and i alone, so the bytes do not depend on the number of workers, and no room is
in both splits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from nexusflow.world.fingerprint import code_fingerprint, library_versions
from nexusflow.world.indoor.camera import intrinsics
from nexusflow.world.indoor.render import render_sample
from nexusflow.world.indoor.spec import CLASSES, IndoorSpec
from nexusflow.world.staging import RECORD_NAME, is_complete, staged_folder, write_json
from nexusflow.world.workers import WorkerPool

SPLITS: Final = ('train', 'val')
FOLDERS: Final = ('image', 'label', 'depth', 'normal')
_LIBRARIES: Final = ('numpy', 'opencv-python-headless')
_IMAGES_PER_JOB: Final = 4


@dataclass(frozen=True)
class _Job:
    root: Path
    split: str
    first: int
    count: int
    image_size_wh: tuple[int, int]
    seed: int


def make_indoor(
    out: Path,
    spec: IndoorSpec,
    seed: int,
    workers: int,
    progress: bool = True,
    overwrite: bool = False,
) -> bool:
    """Writes an indoor data set; complete, or not at all.

    Args:
        out: Data root to make. If it holds the same data set already, nothing is done.
        spec: The recipe.
        seed: Decides everything that the recipe leaves open. Same seed, same bytes.
        workers: Number of processes.
        progress: Whether to show a progress bar over the images.
        overwrite: Whether to replace a world of another recipe at `out`.

    Returns:
        True if it was made, False if it was there already.

    Raises:
        ValueError: If `workers` is not positive, or `seed` is negative.
        FileExistsError: If `out` holds something else.
        RuntimeError: If a worker is killed.
    """
    if workers < 1:
        raise ValueError(f'workers: at least 1, got {workers}')
    if seed < 0:
        raise ValueError(f'seed: 0 or more, got {seed}')
    out = Path(out).resolve()
    record = _record(spec, seed)
    if is_complete(out, record, overwrite):
        return False
    with staged_folder(out) as root, WorkerPool(workers) as pool:
        for split in SPLITS:
            for folder in FOLDERS:
                (root / split / folder).mkdir(parents=True)
        jobs = _plan(root, spec, seed)
        with tqdm(
            total=sum(job.count for job in jobs), desc='rooms', unit='image', disable=not progress
        ) as bar:
            for _, written in pool.run(_write, jobs):
                bar.update(written)
        write_json(root / RECORD_NAME, record)
    return True


def _plan(root: Path, spec: IndoorSpec, seed: int) -> list[_Job]:
    return [
        _Job(root, split, first, min(_IMAGES_PER_JOB, total - first), spec.image_size_wh, seed)
        for split, total in zip(SPLITS, (spec.train_images, spec.val_images), strict=True)
        for first in range(0, total, _IMAGES_PER_JOB)
    ]


def _write(job: _Job) -> int:
    """Renders some rooms and writes them; gives their number."""
    for i in range(job.first, job.first + job.count):
        sample = render_sample((job.seed, SPLITS.index(job.split), i), job.image_size_wh)
        for folder, array in zip(FOLDERS, sample, strict=True):
            np.save(job.root / job.split / folder / f'{i}.npy', array, allow_pickle=False)
    return job.count


def _record(spec: IndoorSpec, seed: int) -> dict[str, Any]:
    """Content of `world.json`: all that decides the bytes, and what a reader wants to know."""
    recipe = asdict(spec)
    recipe['image_size_wh'] = list(spec.image_size_wh)
    return {
        'schema': 'nexusflow-indoor',
        'schema_version': 1,
        'seed': seed,
        'spec': recipe,
        'classes': list(CLASSES),
        'cam2img': intrinsics(spec.image_size_wh).tolist(),
        'normal_axes': 'x right, y up, z towards the camera',
        'code': code_fingerprint(Path(__file__).parent),
        'libraries': library_versions(_LIBRARIES),
    }
