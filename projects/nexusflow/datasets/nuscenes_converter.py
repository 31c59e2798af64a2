# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A data set in nuScenes format -> one info file per split.

Scenes are converted in parallel; each finished scene is a shard in a temporary folder whose name
contains a fingerprint of the tables, the maps and the settings. A killed conversion goes on from
its shards; a shard of other inputs or a broken one is not used.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nexusflow.datasets.info_file import (
    CATEGORIES,
    FRAME,
    SCHEMA,
    SCHEMA_VERSION,
    InfoFileError,
    load_info,
    load_plain,
    save_info,
    save_plain,
)
from nexusflow.datasets.nuscenes_samples import scene_samples
from nexusflow.datasets.nuscenes_scene import SceneTables
from nexusflow.datasets.nuscenes_splits import Split, SplitSpec, splits_of
from nexusflow.datasets.nuscenes_tables import NuScenesTables, check_version
from nexusflow.geometry.map_expansion import load_map_expansion
from nexusflow.geometry.vector_map import MapIndex, MapRules

MAP_RANGE_M = (-15.0, -30.0, 15.0, 30.0)
"""Default patch of the map vectors: MapTR's 30 m x 60 m, lidar frame."""

_CODE_VERSION = 2


@dataclass(frozen=True)
class ConvertSpec:
    """What to convert.

    Attributes:
        root: Data root.
        version: Folder of the tables.
        out_dir: Folder of the info files.
        map_range_m: (x_min, y_min, x_max, y_max) of the map patch, lidar frame, metres.
        with_maps: False leaves ``map_vectors`` None.
        map_rules: How map elements are made.
        splits: Which splits are made.
    """

    root: Path
    version: str
    out_dir: Path
    map_range_m: tuple[float, float, float, float] = MAP_RANGE_M
    with_maps: bool = True
    map_rules: MapRules = MapRules()
    splits: SplitSpec = SplitSpec()

    def fingerprint(self) -> str:
        """Digest of the settings and of name, size and time of every input file."""
        inputs = [*(self.root / self.version).glob('*.json')]
        if self.with_maps:
            inputs += (self.root / 'maps' / 'expansion').glob('*.json')
        stats = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(inputs)]
        settings = [self.version, self.map_range_m, self.with_maps, astuple(self.map_rules)]
        key = [SCHEMA_VERSION, _CODE_VERSION, settings, stats]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]

    def info_path(self, split: str) -> Path:
        """Path of a split's info file."""
        return self.out_dir / f'nexusflow_infos_{split}.pkl'

    def map_path(self, location: str) -> Path:
        """Path of a city's map expansion."""
        return self.root / 'maps' / 'expansion' / f'{location}.json'


def convert(
    spec: ConvertSpec, workers: int = 1, force: bool = False, progress: bool = True
) -> dict[str, Path]:
    """Write the info files of all splits of a version.

    Args:
        spec: What to convert.
        workers: Processes. Only one conversion may run on an output folder at a time.
        force: Convert again even when the files are there and up to date.
        progress: Show a progress bar.

    Returns:
        Split name -> info file.

    Raises:
        FileNotFoundError: Data root, version, table or map expansion is missing.
        ValueError: A table is broken.
    """
    check_version(spec.root, spec.version)
    splits = splits_of(spec.root, spec.version, spec.splits)
    mark = spec.fingerprint()
    marks = {split: _split_mark(mark, members) for split, members in splits.items()}
    spec.out_dir.mkdir(parents=True, exist_ok=True)
    paths = {split: spec.info_path(split) for split in splits}
    stale = [split for split in splits if force or not _is_current(paths[split], marks[split])]
    if not stale:
        return paths
    shards = spec.out_dir / f'.nexusflow_convert_{spec.version}_{mark}'
    if force and shards.exists():
        shutil.rmtree(shards)
    shards.mkdir(exist_ok=True)
    names = sorted({name for split in stale for name in splits[split]})
    todo = [name for name in names if _load_shard(shards, name, mark) is None]
    if todo:
        _convert_scenes(spec, todo, shards, mark, workers, progress)
    for split in stale:
        info = _merge(spec, split, splits[split], shards, mark)
        info['metainfo']['fingerprint'] = marks[split]
        save_info(paths[split], info)
    for folder in spec.out_dir.glob(f'.nexusflow_convert_{spec.version}_*'):
        shutil.rmtree(folder)
    for path in paths.values():
        for leftover in spec.out_dir.glob(f'.{path.name}.*.tmp'):
            leftover.unlink()
    return paths


def _convert_scenes(
    spec: ConvertSpec, names: Sequence[str], shards: Path, mark: str, workers: int, progress: bool
) -> None:
    """Convert the scenes that have no shard yet."""
    tables = NuScenesTables(spec.root, spec.version, names)
    _check_maps(spec, {tables.location(name) for name in names})
    jobs = ((spec, tables.scene(name), shards, mark) for name in names)
    with tqdm(total=len(names), desc='scenes', unit='scene', disable=not progress) as bar:
        for _ in _run(jobs, workers):
            bar.update()


def _check_maps(spec: ConvertSpec, locations: Collection[str]) -> None:
    """Refuse to begin when a city's map is missing, rather than stop at its first scene.

    Raises:
        FileNotFoundError: The message names all that are missing.
    """
    paths = [spec.map_path(location) for location in sorted(locations)] if spec.with_maps else []
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f'map expansion {", ".join(missing)} is missing: unpack nuScenes-map-expansion-v1.3.zip into '
            f'{spec.root / "maps"}, or convert without maps (--no-maps)'
        )


def _run(jobs: Iterator[tuple[Any, ...]], workers: int) -> Iterator[None]:
    """Do the jobs here or in processes; yields as they are done, in order."""
    if workers <= 1:
        yield from map(_convert_scene, jobs)
        return
    method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else 'spawn'
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_convert_scene, jobs)


def _convert_scene(job: tuple[ConvertSpec, SceneTables, Path, str]) -> None:
    """Write the shard of one scene."""
    spec, scene, shards, mark = job
    index = None
    if spec.with_maps:
        path = spec.map_path(scene.location)
        index = _map_index(path, path.stat().st_mtime_ns if path.exists() else 0, spec.map_rules)
    samples = scene_samples(scene, index, spec.map_range_m)
    content = {'fingerprint': mark, 'samples': samples, 'repaired': {}, 'unusable': {}}
    if index is not None:
        content['repaired'] = {scene.location: index.num_repaired}
        content['unusable'] = {scene.location: index.num_unusable}
    save_plain(shards / f'{scene.name}.pkl', content)


@lru_cache(maxsize=8)
def _map_index(path: Path, modified_ns: int, rules: MapRules) -> MapIndex:
    """One index per city and process; a file that has changed is read again."""
    return MapIndex(load_map_expansion(path, rules.centerlines), rules)


def _load_shard(shards: Path, name: str, mark: str) -> Mapping[str, Any] | None:
    """A finished scene, or None when it is absent, broken or of other inputs."""
    path = shards / f'{name}.pkl'
    if not path.is_file():
        return None
    try:
        shard = load_plain(path)
    except InfoFileError:
        return None
    usable = isinstance(shard, dict) and shard.get('fingerprint') == mark
    return shard if usable else None


def _merge(
    spec: ConvertSpec, split: str, members: Split, shards: Path, mark: str
) -> dict[str, Any]:
    """Join the shards of a split and number its objects."""
    ids: dict[str, int] = {}
    samples: list[dict[str, Any]] = []
    counts: dict[str, dict[str, dict[str, int]]] = {'repaired': {}, 'unusable': {}}
    for name, tokens in members.items():
        shard = _load_shard(shards, name, mark)
        if shard is None:
            raise InfoFileError(f'{shards / name}.pkl vanished during the conversion; run it again')
        samples += [s for s in shard['samples'] if tokens is None or s['token'] in tokens]
        for kind, cities in counts.items():
            cities.update(shard[kind])
    for s in samples:
        own = [ids.setdefault(token, len(ids)) for token in s['instance_tokens']]
        s['instance_ids'] = np.array(own, dtype=np.int64)
    meta = {
        'schema': SCHEMA,
        'schema_version': SCHEMA_VERSION,
        'frame': FRAME,
        'version': spec.version,
        'split': split,
        'categories': list(CATEGORIES),
        'map_classes': list(spec.map_rules.classes),
        'map_crossings': spec.map_rules.crossings,
        'map_range_m': list(spec.map_range_m),
        'repaired_polygons': counts['repaired'],
        'unusable_map_records': counts['unusable'],
    }
    return {'metainfo': meta, 'data_list': samples}


def _split_mark(mark: str, members: Split) -> str:
    """Digest of the inputs and of what belongs to a split."""
    names = [(name, tokens and sorted(tokens)) for name, tokens in members.items()]
    return hashlib.sha256(json.dumps([mark, names]).encode()).hexdigest()[:16]


def _is_current(path: Path, mark: str) -> bool:
    """Whether an info file is there and was made from the same inputs."""
    try:
        return bool(load_info(path)['metainfo'].get('fingerprint') == mark)
    except (FileNotFoundError, InfoFileError):
        return False
