# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Makes a whole world: road networks and traffic, then pictures, then tables.

Both steps run over a pool of processes, first a job per road network (or log), then a job per map
and per scene. A job's result depends on the recipe and the seed only, and results are put in the
order of the jobs, so the bytes do not depend on the number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nexusflow.world.av2_source import log_files
from nexusflow.world.camera import nuscenes_like_rig
from nexusflow.world.fingerprint import code_fingerprint, files_fingerprint, library_versions
from nexusflow.world.nuscenes_schema import Tables
from nexusflow.world.nuscenes_writer import write_map, write_scene, write_tables
from nexusflow.world.parts import Part, PartJob, build_part, merge_maps, plan_parts
from nexusflow.world.render import SceneRenderer
from nexusflow.world.scene import CityMap, SceneLog
from nexusflow.world.spec import PRESETS, WorldSpec, preset
from nexusflow.world.staging import RECORD_NAME, is_complete, staged_folder, write_json
from nexusflow.world.styles import style_for
from nexusflow.world.workers import WorkerPool

__all__ = ['PRESETS', 'WorldSpec', 'make_world', 'preset']

_CODE = (Path(__file__).parent, Path(__file__).parents[1] / 'geometry')
_LIBRARIES = ('numpy', 'opencv-python-headless', 'shapely', 'eclipse-sumo')


@dataclass(frozen=True)
class _MapJob:
    root: Path
    city_map: CityMap


@dataclass(frozen=True)
class _SceneJob:
    root: Path
    city_map: CityMap
    scene: SceneLog
    spec: WorldSpec
    seed: int


def make_world(
    out: Path,
    spec: WorldSpec,
    seed: int,
    workers: int,
    progress: bool = True,
    overwrite: bool = False,
) -> bool:
    """Writes a world in nuScenes format; complete, or not at all.

    Args:
        out: Data root to make. If it holds the same world already, nothing is done.
        spec: The recipe.
        seed: Decides everything that the recipe leaves open. Same seed, same bytes.
        workers: Number of processes.
        progress: Whether to show a progress bar over the samples.
        overwrite: Whether to replace a world of another recipe at `out`.

    Returns:
        True if the world was made, False if it was there already.

    Raises:
        ValueError: If `workers` is not positive, or a source refuses the recipe.
        FileExistsError: If `out` holds something else.
        FileNotFoundError: If an Argoverse 2 log lacks a file.
        RuntimeError: If SUMO is missing or fails, or a worker is killed.
    """
    if workers < 1:
        raise ValueError(f'workers: at least 1, got {workers}')
    out = Path(out).resolve()
    record = _record(spec, seed)
    if is_complete(out, record, overwrite):
        return False
    jobs = plan_parts(spec, seed)
    with staged_folder(out) as root, WorkerPool(workers) as pool:
        parts = _build_parts(jobs, pool, progress)
        _write(root, parts, spec, seed, pool, progress)
        write_json(root / RECORD_NAME, record)
    return True


def _build_parts(jobs: Sequence[PartJob], pool: WorkerPool, progress: bool) -> list[Part]:
    parts: dict[int, Part] = {}
    with tqdm(total=len(jobs), desc='roads and traffic', disable=not progress) as bar:
        for index, part in pool.run(build_part, jobs):
            parts[index] = part
            bar.update()
    return [parts[i] for i in range(len(jobs))]


def _write(
    root: Path,
    parts: Sequence[Part],
    spec: WorldSpec,
    seed: int,
    pool: WorkerPool,
    progress: bool,
) -> None:
    maps = merge_maps([part.city_map for part in parts])
    drives = [
        _SceneJob(root, part.city_map, scene, spec, seed) for part in parts for scene in part.scenes
    ]
    drives.sort(key=lambda job: job.scene.name)
    jobs: list[_MapJob | _SceneJob] = [*(_MapJob(root, city) for city in maps), *drives]
    scenes = [job.scene for job in drives]
    rows: dict[int, Tables] = {}
    total = sum(len(scene.timestamps_us) for scene in scenes)
    with tqdm(total=total, desc='six-camera samples', unit='', disable=not progress) as bar:
        for index, tables in pool.run(_work, jobs):
            if tables:
                rows[index] = tables
                bar.update(len(tables['sample']))
    rig = nuscenes_like_rig(spec.image_size_wh)
    write_tables(root, rig, maps, scenes, [rows[index] for index in sorted(rows)])


def _work(job: _MapJob | _SceneJob) -> Tables:
    """Writes the files of a map, or the pictures of a scene, whose rows it gives."""
    if isinstance(job, _MapJob):
        write_map(job.root, job.city_map)
        return {}
    rig = nuscenes_like_rig(job.spec.image_size_wh)
    style = style_for(job.scene.location, job.spec.domain_gap)
    renderer = SceneRenderer(job.city_map, job.scene, rig, style, job.seed)
    return write_scene(job.root, job.scene, rig, renderer)


def _record(spec: WorldSpec, seed: int) -> dict[str, Any]:
    """Content of `world.json`: all that decides the bytes; no path of this machine."""
    recipe = asdict(spec)
    logs = [Path(log) for log in spec.av2_logs]
    recipe['av2_logs'] = [log.name for log in logs]
    recipe['image_size_wh'] = list(spec.image_size_wh)
    return {
        'schema': 'nexusflow-world',
        'schema_version': 1,
        'seed': seed,
        'spec': recipe,
        'logs': [files_fingerprint(log_files(log)) for log in logs],
        'code': code_fingerprint(*_CODE),
        'libraries': library_versions(_LIBRARIES),
    }
