# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The official nuScenes tracking evaluation, unmodified, called for any eval set.

``nuscenes.eval.tracking.evaluate.TrackingEval`` with the configuration ``tracking_nips_2019``
gives every number. Around it: the tables are loaded once per process, the printing is silenced, a
submission without boxes scores instead of raising, and a score of zero comes with its reason.
It takes minutes: :mod:`.fast_tracking` gives the same numbers in seconds.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import multiprocessing
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from .eval_sets import DEVKIT, scenes_of_eval_set
from .fast_tracking import evaluate_fast
from .submitted_boxes import check_samples
from .tracking_result import TrackingResult, write_result

__all__ = ['evaluate_official', 'load_tables', 'require_devkit']

_NEEDED = {
    'nuscenes': DEVKIT,
    'motmetrics': 'motmetrics==1.4.0',
    'pandas': 'pandas>=2',
}
_OUT_OF_RANGE_M = 1e6
_tables: dict[tuple[str, str, float], Any] = {}


def require_devkit() -> None:
    """Check that the official evaluation can run.

    Raises:
        ImportError: A package is missing or too old; the message says what to install. (The devkit
            itself raises ``unittest.SkipTest``, which a test runner takes for a skipped test.)
    """
    for module, requirement in _NEEDED.items():
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ImportError(
                f"the official tracking evaluation needs {module}: pip install '{requirement}'"
            ) from error
    splits = importlib.import_module('nuscenes.utils.splits')
    if not hasattr(splits, 'get_scenes_of_custom_split'):
        raise ImportError(
            'nuscenes-devkit is too old to evaluate custom splits:'
            f" pip install '{_NEEDED['nuscenes']}'"
        )


def load_tables(data_root: str | Path, version: str) -> Any:
    """The devkit's ``NuScenes`` object, loaded once per process.

    Args:
        data_root: Root folder of the data set.
        version: Folder of the tables, e.g. ``'v1.0-trainval'``.

    Returns:
        The tables; shared, so they must not be changed. Tables which were written anew are loaded
        anew.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    require_devkit()
    folder = Path(data_root) / version
    if not (folder / 'sample.json').is_file():
        raise FileNotFoundError(
            f'{folder}: no nuScenes tables (sample.json); set data_root to the folder that'
            f" holds them in '{version}', or set version to one of the folders in {data_root}"
        )
    stamp = max(table.stat().st_mtime for table in folder.glob('*.json'))
    key = (str(Path(data_root).resolve()), version, stamp)
    if key not in _tables:
        from nuscenes import NuScenes

        _tables.clear()
        _tables[key] = NuScenes(version=version, dataroot=str(data_root), verbose=False)
    return _tables[key]


def evaluate_official(
    submission: Mapping[str, Any],
    data_root: str | Path,
    version: str,
    eval_sets: Iterable[str],
    out_dir: str | Path | None = None,
    workers: int = 1,
) -> dict[str, TrackingResult]:
    """Score one submission on several eval sets.

    Args:
        submission: Content of a tracking submission; it may hold more samples than the eval sets.
        data_root: Root folder of the data set.
        version: Folder of the tables, e.g. ``'v1.0-trainval'``.
        eval_sets: Predefined splits, or keys of ``<data_root>/<version>/splits.json``.
        out_dir: ``metrics_summary.json`` and ``metrics_details.json`` go to a folder of each eval
            set in it; nowhere by default.
        workers: Processes; each takes whole eval sets. Above 1 they share the tables where the system can fork.

    Returns:
        Eval set to its scores, the same for any number of workers. Without any box they are the
        devkit's worst: AMOTA 0, AMOTP 2, FN all.

    Raises:
        ImportError: The devkit or motmetrics is missing.
        ValueError: Unknown eval set, samples without a prediction, or no annotated box in an eval
            set.
    """
    load_tables(data_root, version)
    tasks = []
    for name in eval_sets:
        folder = None if out_dir is None else Path(out_dir) / name
        tasks.append((submission, data_root, version, name, folder))
    if min(workers, len(tasks)) <= 1:
        return {task[3]: _evaluate(*task) for task in tasks}
    method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else 'spawn'
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context) as pool:
        futures = {task[3]: pool.submit(_evaluate, *task) for task in tasks}
        return {name: future.result() for name, future in futures.items()}


def _evaluate(
    submission: Mapping[str, Any],
    data_root: str | Path,
    version: str,
    eval_set: str,
    out_dir: Path | None,
) -> TrackingResult:
    """Score a submission on one eval set; ``out_dir`` is the folder of this set."""
    tokens = _tokens(data_root, version, eval_set)
    check_samples(submission['results'], tokens, eval_set)
    results = {token: submission['results'][token] for token in tokens}
    if not any(results.values()):
        results[tokens[0]] = [_box_out_of_range(tokens[0])]
    with tempfile.TemporaryDirectory() as folder, _quiet(), _shared_tables():
        path = Path(folder) / 'submission.json'
        path.write_text(json.dumps({'meta': submission['meta'], 'results': results}))
        metrics, details = _run_devkit(path, str(data_root), version, eval_set)
    summary = metrics.serialize() | {'meta': dict(submission['meta'])}
    reason = None
    if not summary['amota'] > 0:
        reason = evaluate_fast(submission, data_root, version, [eval_set])[eval_set].reason
    result = TrackingResult(summary, details.serialize(), reason)
    if out_dir is not None:
        write_result(out_dir, result)
    return result


def _tokens(data_root: str | Path, version: str, eval_set: str) -> list[str]:
    """Tokens of the samples of an eval set, in the order of the tables."""
    scenes = set(scenes_of_eval_set(data_root, version, eval_set))
    tables = load_tables(data_root, version)
    wanted = {scene['token'] for scene in tables.scene if scene['name'] in scenes}
    return [sample['token'] for sample in tables.sample if sample['scene_token'] in wanted]


def _run_devkit(path: Path, data_root: str, version: str, eval_set: str) -> tuple[Any, Any]:
    """Run the official evaluation; gives its metrics and its curves."""
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.tracking.evaluate import TrackingEval

    try:
        judge = TrackingEval(
            config=config_factory('tracking_nips_2019'),
            result_path=str(path),
            eval_set=eval_set,
            output_dir=str(path.parent),
            nusc_version=version,
            nusc_dataroot=data_root,
            verbose=False,
        )
    except Exception as error:
        # an assertion without words: the tables have no annotation at all
        empty = isinstance(error, AssertionError) and not str(error)
        if not empty and 'Invalid box type' not in str(error):
            raise
        raise ValueError(
            f'{data_root}: eval set {eval_set!r} has no annotated box of a tracking class, so'
            ' there is nothing to judge; name another eval set'
        ) from error
    return judge.evaluate()


def _box_out_of_range(token: str) -> dict[str, Any]:
    """A box that the devkit's range filter removes; without any box it would fail."""
    return {
        'sample_token': token,
        'translation': [_OUT_OF_RANGE_M, _OUT_OF_RANGE_M, 0.0],
        'size': [1.0, 1.0, 1.0],
        'rotation': [1.0, 0.0, 0.0, 0.0],
        'velocity': [0.0, 0.0],
        'tracking_id': 'none',
        'tracking_name': 'car',
        'tracking_score': 0.0,
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallow what the devkit and its libraries print; errors pass."""
    sink = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sink),
    ):
        warnings.simplefilter('ignore')
        yield


@contextlib.contextmanager
def _shared_tables() -> Iterator[None]:
    """Let TrackingEval, which loads the tables in its constructor, take those of this process."""

    def take(version: str, dataroot: str, verbose: bool = False) -> Any:
        del verbose
        return load_tables(dataroot, version)

    module = importlib.import_module('nuscenes.eval.tracking.evaluate')
    original, module.NuScenes = module.NuScenes, take
    try:
        yield
    finally:
        module.NuScenes = original
