# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The arithmetic of a comparison: mean and spread over seeds, and the share of the gap closed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from nexusflow.evaluation.functional.dense_delta import delta_percent

from .results import ELSEWHERE
from .spec import Metric

__all__ = [
    'Row',
    'Share',
    'Spread',
    'gap_share',
    'metrics_of',
    'spread',
    'states_of_code',
    'summarise',
]

WHOLE = 'all'
Figures = dict[tuple[str, str], dict[str, float]]
"""(metric key, city or 'all') to the value of each seed."""


class Spread(NamedTuple):
    """Mean and spread of a figure over seeds.

    Attributes:
        mean: Mean.
        std: Sample standard deviation (n - 1 below the line); None for one seed.
        n: Seeds.
    """

    mean: float
    std: float | None
    n: int


class Share(NamedTuple):
    """Share of the gap that a method closes.

    Attributes:
        value: Of the method's mean; None if it is undefined.
        reason: Why it is undefined.
        per_seed: Of each seed, over the same gap of means.
    """

    value: float | None
    reason: str = ''
    per_seed: tuple[float, ...] = ()


@dataclass(frozen=True)
class Row:
    """A method in the table.

    Attributes:
        name: Its name.
        label: Its name in the table.
        group: Part of the table.
        labels: The labelled cities of each task.
        done: Finished seeds.
        planned: Declared seeds.
        figures: (metric key, city or 'all') to mean and spread.
        shares: (metric key, city or 'all') to the share of the gap closed, between the baseline and the
            reference of the same seeds; empty for these two.
        delta: Mean relative gain over the baseline of the same seeds in the headline metrics, per cent.
        time_ratio: Time per iteration over the baseline's, seeds that both ran on one machine.
        step_s: Seconds per iteration.
        peak_mb: Largest memory of any seed, MiB.
        parameters: In training.
        parameters_inference: At inference.
        mmd2: Squared MMD between the tasks' pooled features, seed that was analysed.
        relative: Relative distance between the tasks' z on the validation set, same seed.
        missing: Seed to the reason why it is not there.
    """

    name: str
    label: str
    group: str
    labels: Mapping[str, Sequence[str]]
    done: int
    planned: int
    figures: Mapping[tuple[str, str], Spread]
    shares: Mapping[tuple[str, str], Share]
    delta: float | None = None
    time_ratio: float | None = None
    step_s: float | None = None
    peak_mb: float | None = None
    parameters: int | None = None
    parameters_inference: int | None = None
    mmd2: float | None = None
    relative: float | None = None
    missing: Mapping[str, str] = field(default_factory=dict)


def spread(values: Iterable[float | None]) -> Spread | None:
    """Mean and sample standard deviation; None and NaN are left out, nothing left gives None.

    Example:
        >>> spread([1.0, 3.0, None])
        Spread(mean=2.0, std=1.4142135623730951, n=2)
        >>> spread([1.0])
        Spread(mean=1.0, std=None, n=1)
    """
    known = [float(value) for value in values if value is not None and not math.isnan(value)]
    if not known:
        return None
    std = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return Spread(float(np.mean(known)), std, len(known))


def gap_share(
    values: Sequence[float], baseline: Spread | None, reference: Spread | None, more: bool = True
) -> Share:
    """(method - baseline) / (reference - baseline), on means.

    Args:
        values: The method's figure for each seed.
        baseline: Where the gap begins.
        reference: Where it ends; it must be better than the baseline.
        more: Whether more is better.

    Example:
        >>> gap_share([0.25], Spread(0.2, None, 1), Spread(0.3, None, 1)).value
        0.5
        >>> gap_share([0.25], Spread(0.2, None, 1), Spread(0.1, None, 1)).reason
        'the reference is not better than the baseline'
    """
    if not values or baseline is None or reference is None:
        return Share(None, 'method, baseline and reference have no seed in common')
    gap = reference.mean - baseline.mean
    if not (gap > 0 if more else gap < 0):
        return Share(None, 'the reference is not better than the baseline')
    each = tuple((value - baseline.mean) / gap for value in values)
    return Share((float(np.mean(values)) - baseline.mean) / gap, '', each)


def metrics_of(results: Mapping[str, Any]) -> list[Metric]:
    """The columns of a comparison."""
    return [Metric(**given) for given in results['metrics']]


def summarise(results: Mapping[str, Any]) -> list[Row]:
    """The rows of the table.

    Args:
        results: As :func:`nexusflow.engine.comparison.collect` gives them.
    """
    methods = results['methods']
    values = {name: _values(method, results) for name, method in methods.items()}
    return [_row(name, method, values, results) for name, method in methods.items()]


def states_of_code(results: Mapping[str, Any]) -> dict[str, list[str]]:
    """State of the code to the runs that were made with it, by ``method seed``."""
    out: dict[str, list[str]] = {}
    for name, method in results['methods'].items():
        for seed, run in method['runs'].items():
            for code in run['code']:
                out.setdefault(code, []).append(f'{name} {seed}')
    return out


def _values(method: Mapping[str, Any], results: Mapping[str, Any]) -> Figures:
    """Each figure for every seed that has it, whole and by city."""
    out: Figures = {}
    for metric in metrics_of(results):
        keys = {WHOLE: metric.key}
        for city, places in results['cities'].items():
            if metric.task in places:
                keys[city] = metric.in_place(places[metric.task])
        for city, key in keys.items():
            found = {seed: run['metrics'].get(key) for seed, run in method['runs'].items()}
            out[metric.key, city] = {
                seed: value
                for seed, value in found.items()
                if value is not None and not math.isnan(value)
            }
    return out


def _spreads(values: Figures) -> dict[tuple[str, str], Spread]:
    """Mean and spread of each figure over all seeds that have it."""
    found = {key: spread(each.values()) for key, each in values.items()}
    return {key: of for key, of in found.items() if of}


def _common(parts: Sequence[Figures]) -> list[Figures]:
    """Each figure over the seeds that all parts have: seeds differ by more than most methods do."""
    seeds = {key: set.intersection(*(set(part.get(key, {})) for part in parts)) for key in parts[0]}
    return [
        {key: {seed: part[key][seed] for seed in sorted(of)} for key, of in seeds.items() if of}
        for part in parts
    ]


def _costs(method: Mapping[str, Any], key: str) -> list[float]:
    return [run['cost'][key] for run in method['runs'].values()]


def _time_ratio(mine: Mapping[str, Any], base: Mapping[str, Any]) -> float | None:
    """Time per iteration over the baseline's, on the means over the seeds that both ran on one and the same machine."""
    alike = [
        (run['cost']['step_s'], base[seed]['cost']['step_s'])
        for seed, run in mine.items()
        if seed in base and _one_machine(run, base[seed])
    ]
    return sum(own for own, _ in alike) / sum(other for _, other in alike) if alike else None


def _one_machine(run: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Both on one and the same; results of earlier versions name none."""
    machines = run.get('machine', [])
    return len(machines) == 1 and machines == other.get('machine') and machines != [ELSEWHERE]


def _row(
    name: str,
    method: Mapping[str, Any],
    values: Mapping[str, Figures],
    results: Mapping[str, Any],
) -> Row:
    baseline, reference = method['baseline'], method['reference']
    figures = _spreads(values[name])
    mine, begin, end = _common([values[key] for key in (name, baseline, reference)])
    more = {metric.key: metric.more for metric in metrics_of(results)}
    shares = {}
    if name not in (baseline, reference):
        shares = {
            key: gap_share(
                list(mine.get(key, {}).values()),
                spread(begin.get(key, {}).values()),
                spread(end.get(key, {}).values()),
                more[key[0]],
            )
            for key in values[name]
        }
    step_s = spread(_costs(method, 'step_s'))
    analysis = next((run['analysis'] for run in _analysed(method)), {})
    return Row(
        name=name,
        label=method['label'],
        group=method['group'],
        labels=method['labels'],
        done=len(method['runs']),
        planned=len(method['seeds']),
        figures=figures,
        shares=shares,
        delta=_delta(*(_spreads(of) for of in _common([values[name], values[baseline]])), results),
        time_ratio=_time_ratio(method['runs'], results['methods'][baseline]['runs']),
        step_s=step_s.mean if step_s else None,
        peak_mb=max(_costs(method, 'peak_mb'), default=None),
        parameters=max(_costs(method, 'parameters'), default=None),
        parameters_inference=max(_costs(method, 'parameters_inference'), default=None),
        mmd2=analysis.get('pooled', {}).get('mmd2'),
        relative=analysis.get('z', {}).get('relative'),
        missing=method['missing'],
    )


def _delta(
    mine: Mapping[tuple[str, str], Spread],
    baseline: Mapping[tuple[str, str], Spread],
    results: Mapping[str, Any],
) -> float | None:
    """Mean relative gain of the means; None if it is not asked for or a figure is missing or 0."""
    metrics = [metric for metric in metrics_of(results) if metric.headline]
    keys = [(metric.key, WHOLE) for metric in metrics]
    known = all(key in mine and key in baseline and baseline[key].mean > 0 for key in keys)
    if not results['delta'] or not known:
        return None
    higher = [metric.key.split('/')[-1] for metric in metrics if metric.more]
    return delta_percent(
        *({key[0]: of[key].mean for key in keys} for of in (mine, baseline)), higher
    )


def _analysed(method: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [run for run in method['runs'].values() if run.get('analysis')]
