# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What the runs of a comparison have left, gathered into one plain dictionary: results.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nexusflow.evaluation.functional.files import read_json

from ..hooks.run_record_hook import RUN_RECORD
from ..stages import StageRunner
from .runs import Plan, Run
from .spec import Method

__all__ = ['collect', 'measured_elsewhere']

SeedOfMethod = tuple[str, int]

# results of earlier versions have no keys, and nothing of them counts
_FIELDS = {'metrics', 'cost', 'seconds', 'code'}

# the machine of a run that was taken over and does not say it: none that another run was made on
ELSEWHERE = 'elsewhere'


def collect(
    plan: Plan,
    runner: StageRunner,
    failures: Collection[str] = (),
    elsewhere: Mapping[SeedOfMethod, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Gather the finished runs.

    Args:
        plan: The comparison.
        runner: Knows which stages are finished as they are declared now; a run of an earlier
            declaration is missing.
        failures: Stages that have just failed.
        elsewhere: What :func:`measured_elsewhere` found, for the runs that are missing here.

    Returns:
        ``name``, ``title``, ``delta``, ``metrics``, ``cities`` and ``methods``, each with what was declared,
        ``runs`` (seed to metrics, cost, seconds, state of the code, machine, keys, folder below the work dir) and
        ``missing`` (seed to the reason).
    """
    experiment, runs = plan.experiment, runs_by_seed(plan)
    methods = {}
    for name, method in experiment.methods.items():
        methods[name] = _declared(method)
        for seed in method.seeds:
            parts = runs[name, seed]
            reasons = [reason for run in parts if (reason := _why_missing(run, runner, failures))]
            if not reasons:
                found = _merged([_record(run, plan, runner) for run in parts], parts)
            else:
                found = (elsewhere or {}).get((name, seed))
            if found is not None:
                methods[name]['runs'][str(seed)] = found
            else:
                methods[name]['missing'][str(seed)] = '; '.join(dict.fromkeys(reasons))
    return {
        'name': experiment.name,
        'title': experiment.title,
        'delta': experiment.delta,
        'metrics': [dataclasses.asdict(metric) for metric in experiment.metrics],
        'cities': {city: dict(names) for city, names in experiment.cities.items()},
        'methods': methods,
    }


def measured_elsewhere(
    plan: Plan, runner: StageRunner, results: Mapping[str, Any]
) -> dict[SeedOfMethod, dict[str, Any]]:
    """Runs in the results of another work dir or machine whose configuration and data are those declared now.

    Args:
        plan: The comparison.
        runner: Knows the keys of all its stages.
        results: Content of an earlier results.json.

    Raises:
        ValueError: They are not results of this comparison.
    """
    _check_results(results, plan.experiment.name)
    found = {}
    for (name, seed), parts in runs_by_seed(plan).items():
        record = results['methods'].get(name, {}).get('runs', {}).get(str(seed), {})
        if record.get('keys') == [runner.keys[run.last_stage] for run in parts]:
            # the folders are not here, or are those of other runs
            machine = record.get('machine') or [ELSEWHERE]
            found[name, seed] = {**record, 'machine': machine, 'folders': []}
    return found


def _check_results(results: object, expected: str) -> None:
    """Refuse what tools/compare.py did not write for this comparison."""
    mend = 'give a results.json that tools/compare.py wrote for it'
    name = results.get('name') if isinstance(results, Mapping) else None
    if not isinstance(results, Mapping) or name != expected:
        raise ValueError(
            f"results of another comparison: name is {name!r}, expected '{expected}'; {mend}"
        )
    try:
        runs = [run for of in results['methods'].values() for run in of['runs'].values()]
        whole = all(_FIELDS <= run.keys() for run in runs)
    except (AttributeError, KeyError, TypeError):
        whole = False
    if not whole:
        raise ValueError(f'methods: a run lacks one of {sorted(_FIELDS)}; {mend}')


def runs_by_seed(plan: Plan) -> dict[SeedOfMethod, list[Run]]:
    """The runs of a method and seed: one, or one for each of its models."""
    runs: dict[SeedOfMethod, list[Run]] = {}
    for run in plan.runs():
        runs.setdefault((run.method.name, run.seed), []).append(run)
    return runs


def _declared(method: Method) -> dict[str, Any]:
    """What was declared of a method; no run yet."""
    return {
        'label': method.label,
        'group': method.group,
        'baseline': method.baseline,
        'reference': method.reference,
        'labels': {task: list(cities) for task, cities in method.labels.items()},
        'seeds': list(method.seeds),
        'runs': {},
        'missing': {},
    }


def _why_missing(run: Run, runner: StageRunner, failures: Collection[str]) -> str:
    """Nothing if the run is finished."""
    if runner.is_finished(run.last_stage):
        return ''
    for stage in (f'train_{run.name}', run.last_stage):
        if stage in failures:
            return f'{stage} failed'
    record = runner.record(run.last_stage)
    return 'its configuration or data changed since it ran' if record.get('key') else 'not run'


def _record(run: Run, plan: Plan, runner: StageRunner) -> dict[str, Any]:
    """Metrics, cost, time and state of the code of one finished run."""
    folder = plan.folder(run)
    metrics = read_json(folder / 'metrics.json')
    if run.part:
        metrics = {k: v for k, v in metrics.items() if k.split('/')[0] == run.part}
    records = {s: runner.record(f'{s}_{run.name}') for s in ('train', 'test')}
    notes = [note for record in records.values() for note in record.get('notes', [])]
    out = {
        'metrics': metrics,
        'cost': read_json(folder / RUN_RECORD),
        'seconds': {stage: record['seconds'] for stage, record in records.items()},
        'code': sorted({note['code'] for note in notes if 'code' in note}),
        'machine': _machines(records['train']),
        'keys': [runner.keys[run.last_stage]],
        'folders': [str(folder.relative_to(plan.work_dir))],
    }
    if run.analysed and runner.is_finished(f'analyze_{run.name}'):
        out['analysis'] = _figures(folder / 'analysis' / 'analysis.json')
    return out


def _machines(train: Mapping[str, Any]) -> list[str]:
    """Where a training ran, several if it went on elsewhere; nothing from earlier versions."""
    return sorted({note['machine'] for note in train.get('notes', []) if 'machine' in note})


def _merged(records: list[dict[str, Any]], parts: list[Run]) -> dict[str, Any]:
    """One run; of several models their metrics side by side, costs and times added up."""
    if len(records) == 1:
        return records[0]
    costs = [record['cost'] for record in records]
    summed = ('parameters', 'parameters_inference', 'step_s')
    return {
        'metrics': {k: v for record in records for k, v in record['metrics'].items()},
        'cost': {
            **costs[0],
            **{key: sum(cost[key] for cost in costs) for key in summed},
            'peak_mb': max(cost['peak_mb'] for cost in costs),
            'models': len(parts),
        },
        'seconds': {
            stage: sum(record['seconds'][stage] for record in records)
            for stage in records[0]['seconds']
        },
        'code': sorted({code for record in records for code in record['code']}),
        'machine': sorted({name for record in records for name in record['machine']}),
        'keys': [key for record in records for key in record['keys']],
        'folders': [folder for record in records for folder in record['folders']],
    }


def _figures(path: Path) -> dict[str, Any]:
    """The figures of an analysis without its spectra and points: means over the pairs of tasks."""
    spaces = read_json(path)['spaces']
    return {
        name: {
            'mmd2': _mean(space['mmd2']),
            # analyses of earlier versions have none
            'relative': _mean(space.get('relative', {})),
            'cka': _mean(space['cka']),
            'effective_rank': space['effective_rank'],
        }
        for name, space in spaces.items()
    }


def _mean(pairs: Mapping[str, float]) -> float | None:
    return float(np.mean(list(pairs.values()))) if pairs else None
