# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The declaration of a comparison: a small Python file of plain values (configs/comparisons)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

__all__ = ['DataStep', 'Experiment', 'Method', 'Metric', 'Smoke', 'load_experiment']


@dataclass(frozen=True)
class Metric:
    """A column of the table.

    Attributes:
        key: Its name in the metrics of tools/test.py, ``'<task>/<name>'``.
        label: Its head.
        more: Whether more is better.
        digits: Decimals.
        headline: Whether it stands in the Markdown table, with the share of the gap closed.
    """

    key: str
    label: str
    more: bool = True
    digits: int = 3
    headline: bool = False

    @property
    def task(self) -> str:
        """The task that it judges."""
        return self.key.split('/')[0]

    def in_place(self, place: str) -> str:
        """Its key in one city, under the name that its judge has for the city.

        Example:
            >>> Metric('map/mAP', 'mAP').in_place('boston-seaport')
            'map/boston-seaport/mAP'
        """
        task, name = self.key.split('/', 1)
        return f'{task}/{place}/{name}'


@dataclass(frozen=True)
class Method:
    """One way to train.

    Attributes:
        name: Unique; names its folders.
        label: Its name in tables.
        configs: Config files: one under the key ``''``, or several models of which each gives the
            metrics of the task that is its key.
        seeds: Training seeds; the data's seed does not vary.
        group: Head of the part of the table where it stands.
        baseline: The method below which the gap begins.
        reference: The method at which the gap ends.
        labels: The labelled cities of each task; a task that is left out is labelled everywhere.
        supervision: Supervision rule instead of the config's.
        cfg_options: Settings instead of the config's, dotted keys.
    """

    name: str
    label: str
    configs: Mapping[str, Path]
    seeds: tuple[int, ...]
    group: str = ''
    baseline: str = ''
    reference: str = ''
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    supervision: Mapping[str, Any] | None = None
    cfg_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataStep:
    """A command that makes a part of the data.

    Attributes:
        name: Unique.
        command: A tool of tools/ with its arguments; ``{data_root}`` and ``{workers}`` are filled in.
        outputs: Files below the data root that exist when it is done.
        seconds: Guess of its time.
    """

    name: str
    command: str
    outputs: tuple[str, ...]
    seconds: float = 60.0


@dataclass(frozen=True)
class Smoke:
    """What makes a comparison tiny.

    Attributes:
        data: Arguments added to the command of each data step.
        cfg_options: Settings of every training that has them.
    """

    data: Mapping[str, str] = field(default_factory=dict)
    cfg_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """A comparison.

    Attributes:
        name: Names its place in the README.
        title: Head of its page.
        methods: By name, in the order of the table.
        metrics: Columns.
        data: Steps that make the data.
        data_variable: Environment variable that tells the configs the data root.
        cities: City to its name in the metric keys of each task; without cities, empty.
        train_options: Settings of every training, dotted keys.
        test_options: Settings of every test; ``{folder}`` and ``{workers}`` are filled in.
        pictures: Result files below ``{folder}`` and the info file below the data root; without it
            the page has no pictures.
        delta: Whether the table has the mean relative gain over the baseline in the headline metrics.
        seconds: Guess of the time of one training.
        analysis_samples: Validation samples whose features are analysed.
        smoke: How to try the comparison out.
    """

    name: str
    title: str
    methods: Mapping[str, Method]
    metrics: tuple[Metric, ...]
    data: tuple[DataStep, ...]
    data_variable: str
    cities: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    train_options: Mapping[str, Any] = field(default_factory=dict)
    test_options: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)
    delta: bool = False
    seconds: float = 600.0
    analysis_samples: int = 200
    smoke: Smoke = field(default_factory=Smoke)


def load_experiment(path: str | Path) -> Experiment:
    """Read a declaration.

    ``methods`` maps names to dictionaries with the attributes of :class:`Method`; ``config`` (or
    ``configs``) is relative to the declaration, ``baseline`` and ``reference`` are the methods of
    that name unless it is said otherwise. ``rules`` repeats some of them under another supervision:
    each rule is a dictionary with ``methods``, ``supervision`` and any attribute to change. Names that
    begin with an underscore are the file's own.

    Raises:
        ValueError: Something is missing or unknown; the message names the file and the field.
    """
    settings = {k: v for k, v in Config.fromfile(path).to_dict().items() if k[0] != '_'}
    try:
        methods = {
            name: _method(Path(path).parent, name, **given)
            for name, given in _with_rules(settings.pop('methods'), settings.pop('rules', {}))
        }
        experiment = Experiment(
            methods=methods,
            metrics=tuple(Metric(**given) for given in settings.pop('metrics')),
            data=tuple(
                DataStep(**{**given, 'outputs': tuple(given['outputs'])})
                for given in settings.pop('data')
            ),
            smoke=Smoke(**settings.pop('smoke', {})),
            **settings,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f'{path}: not a comparison: {error}') from error
    _check(experiment, path)
    return experiment


def _with_rules(
    methods: Mapping[str, Mapping[str, Any]], rules: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, dict[str, Any]]]:
    """The methods, then those of each rule as ``<rule>_<method>``."""
    out = [(name, dict(given)) for name, given in methods.items()]
    for rule, changes in rules.items():
        changes = dict(changes)
        label, chosen = changes.pop('label', rule), changes.pop('methods')
        for name in chosen:
            given = {**methods[name], 'group': label, **changes}
            given['label'] = f'{methods[name]["label"]} ({label})'
            if 'baseline' in chosen:
                given['baseline'] = f'{rule}_baseline'
            out.append((f'{rule}_{name}', given))
    return out


def _method(folder: Path, name: str, **given: Any) -> Method:
    """A method from its dictionary; paths become absolute."""
    configs = {'': given.pop('config')} if 'config' in given else given.pop('configs')
    labels = {task: tuple(cities) for task, cities in given.pop('labels', {}).items()}
    given = {'baseline': 'baseline', 'reference': 'full', **given}
    return Method(
        name=name,
        configs={part: (folder / file).resolve() for part, file in configs.items()},
        seeds=tuple(given.pop('seeds')),
        labels=labels,
        **given,
    )


def _check(experiment: Experiment, path: str | Path) -> None:
    """Refuse what would fail hours later."""
    for name, method in experiment.methods.items():
        for config in method.configs.values():
            if not config.is_file():
                raise ValueError(f"{path}: method '{name}': config '{config}' does not exist")
        if not method.seeds:
            raise ValueError(f"{path}: method '{name}': give at least one seed")
        for role in (method.baseline, method.reference):
            if role not in experiment.methods:
                raise ValueError(
                    f"{path}: method '{name}': its baseline or reference '{role}' is not a method"
                )
    keys: Sequence[str] = [metric.key for metric in experiment.metrics]
    if len(set(keys)) < len(keys) or not any(m.headline for m in experiment.metrics):
        raise ValueError(f'{path}: metrics: the keys must differ, and one be a headline')
