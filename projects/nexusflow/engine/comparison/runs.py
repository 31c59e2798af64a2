# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""From a declaration to commands: each training, test and analysis is a process of its own."""

from __future__ import annotations

import copy
import hashlib
import inspect
import os
import shlex
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from nexusflow.evaluation.functional.files import write_text

from ..hooks.run_record_hook import RUN_RECORD
from ..stages import Stage
from .spec import Experiment, Method

__all__ = ['Plan', 'Run']

SETTINGS = {*inspect.signature(Runner).parameters, 'custom_imports', 'runner_type'}


@dataclass(frozen=True)
class Run:
    """One training, its test, and perhaps the analysis of its features.

    Attributes:
        method: What is trained.
        part: Key of the config among the method's.
        seed: Training seed.
        analysed: Whether its features are analysed.
    """

    method: Method
    part: str
    seed: int
    analysed: bool

    @property
    def name(self) -> str:
        """Unique in the comparison."""
        part = f'-{self.part}' if self.part else ''
        return f'{self.method.name}{part}-seed{self.seed}'

    @property
    def last_stage(self) -> str:
        """The stage after which its metrics are there."""
        return f'test_{self.name}'


class Plan:
    """What a comparison runs, and where.

    What identifies a run is its resolved configuration and the recipe of its data, not the code:
    the state of the code is noted with the result instead, so that an edited comment does not cost
    hours. Moving the work dir or the data does not repeat a run either.

    Args:
        experiment: The declaration.
        work_dir: Folder of everything.
        data_root: Folder of the data.
        tools: Folder of train.py, test.py, analyze.py and the tools that make the data.
        workers: Processes of the data steps and of an evaluation.
        smoke: Whether all is made tiny.
    """

    def __init__(
        self,
        experiment: Experiment,
        work_dir: Path,
        data_root: Path,
        tools: Path,
        workers: int = 1,
        smoke: bool = False,
    ) -> None:
        self.experiment, self.tools = experiment, tools
        self.work_dir, self.data_root = work_dir.resolve(), data_root.resolve()
        self.workers, self.smoke = workers, smoke
        self._configs: dict[Path, Config] = {}

    def runs(
        self, methods: Collection[str] | None = None, seeds: Collection[int] | None = None
    ) -> list[Run]:
        """The runs of some methods and seeds: the first seed of every method, then the next one.

        A method's first seed is analysed, unless the method is made of several models.
        """
        chosen = [
            m for m in self.experiment.methods.values() if methods is None or m.name in methods
        ]
        rounds = max((len(method.seeds) for method in chosen), default=0)
        return [
            Run(method, part, method.seeds[i], analysed=i == 0 and len(method.configs) == 1)
            for i in range(rounds)
            for method in chosen
            if i < len(method.seeds) and (seeds is None or method.seeds[i] in seeds)
            for part in method.configs
        ]

    def folder(self, run: Run) -> Path:
        """Work dir of a training; its test and analysis lie in it."""
        return self.work_dir / 'runs' / run.name

    def stages(self, runs: Iterable[Run]) -> list[Stage]:
        """Make the data, then train, test and analyse each run; without runs, nothing."""
        runs = list(runs)
        steps = self.data_stages() if runs else []
        last = tuple(stage.name for stage in steps[-1:])
        return [*steps, *(stage for run in runs for stage in self.run_stages(run, last))]

    def data_stages(self) -> list[Stage]:
        """Make the data; a step whose data are there, made in the same way, has nothing to do."""
        stages: list[Stage] = []
        for step in self.experiment.data:
            text = step.command
            if self.smoke:
                text = f'{text} {self.experiment.smoke.data.get(step.name, "")}'
            values = {'data_root': shlex.quote(str(self.data_root)), 'workers': self.workers}
            tool, *args = shlex.split(text.format(**values))
            stages.append(
                Stage(
                    f'data_{step.name}',
                    self._command(tool, *args),
                    needs=tuple(stage.name for stage in stages[-1:]),
                    seconds=step.seconds,
                    outputs=tuple(self.data_root / name for name in step.outputs),
                    identity=text,
                )
            )
        return stages

    def run_stages(self, run: Run, needs: tuple[str, ...]) -> list[Stage]:
        """Train, test, and analyse if the run is analysed."""
        folder, config = self.folder(run), self.frozen_config(run)
        options = self.experiment.test_options
        values = {'folder': folder, 'workers': self.workers}
        filled = [f'{key}={value.format(**values)}' for key, value in options.items()]
        test = ('--cfg-options', *filled) if filled else ()
        train, last = f'train_{run.name}', folder / 'last_checkpoint'
        stages = [
            Stage(
                train,
                self._command('train.py', str(config), '--work-dir', str(folder), '--resume'),
                needs=needs,
                kind='train',
                seconds=self.experiment.seconds,
                outputs=(last, folder / RUN_RECORD),
                folder=folder,
                identity=f'train {config.stem}',
            ),
            Stage(
                run.last_stage,
                self._command(
                    'test.py', str(config), str(folder), '--work-dir', str(folder / 'test'),
                    '--metrics-out', str(folder / 'metrics.json'), *test,
                ),
                needs=(train,),
                kind='test',
                seconds=self.experiment.seconds / 4,
                outputs=(folder / 'metrics.json',),
                identity=f'test {sorted(options.items())}',
            ),
        ]  # fmt: skip
        if run.analysed:
            samples = str(self.experiment.analysis_samples)
            stages.append(
                Stage(
                    f'analyze_{run.name}',
                    self._command(
                        'analyze.py', str(config), str(folder), '--out', str(folder / 'analysis'),
                        '--samples', samples,
                    ),
                    needs=(train,),
                    kind='analyze',
                    seconds=self.experiment.seconds / 4,
                    outputs=(folder / 'analysis' / 'analysis.json',),
                    identity=f'analyze {samples}',
                )
            )  # fmt: skip
        return stages

    def frozen_config(self, run: Run) -> Path:
        """Write the run's resolved configuration; its name holds the configuration's digest."""
        settings = self.resolved(run)
        text = '\n'.join(f'{key} = {value!r}' for key, value in settings.items()) + '\n'
        same_everywhere = text.replace(str(self.data_root), '{data_root}')
        digest = hashlib.sha256(same_everywhere.encode()).hexdigest()[:16]
        path = self.work_dir / 'configs' / f'{run.name}-{digest}.py'
        if not path.exists() or path.read_text() != text:
            write_text(path, text)
        return path

    def resolved(self, run: Run) -> dict[str, Any]:
        """The settings that the runner reads, as plain values; helper variables are left out."""
        cfg = copy.deepcopy(self._read(run.method.configs[run.part]))
        if run.method.supervision is not None:
            cfg.train_dataloader.dataset.supervision = dict(run.method.supervision)
        options: dict[str, Any] = {**self.experiment.train_options, **run.method.cfg_options}
        if self.smoke:
            settings, tiny = cfg.to_dict(), self.experiment.smoke.cfg_options
            options |= {key: value for key, value in tiny.items() if has_setting(settings, key)}
        cfg.merge_from_dict({**options, 'randomness.seed': run.seed})
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), {'type': 'NexusRunRecordHook'}]
        return {key: value for key, value in cfg.to_dict().items() if key in SETTINGS}

    def _read(self, path: Path) -> Config:
        if path not in self._configs:
            variable = self.experiment.data_variable
            with changed_environment({variable: str(self.data_root)}):
                self._configs[path] = Config.fromfile(path)
        return self._configs[path]

    def _command(self, tool: str, *args: str) -> tuple[str, ...]:
        return (sys.executable, str(self.tools / tool), *args)


def has_setting(settings: Any, key: str) -> bool:
    """Whether nested settings have a dotted key; numbers are places in lists.

    Example:
        >>> has_setting({'hooks': [{'begin': 3}]}, 'hooks.0.begin')
        True
        >>> has_setting({'hooks': []}, 'hooks.0.begin')
        False
    """
    for name in key.split('.'):
        if isinstance(settings, list | tuple):
            settings = dict(enumerate(settings))
            name = int(name)
        if not isinstance(settings, Mapping) or name not in settings:
            return False
        settings = settings[name]
    return True


@contextmanager
def changed_environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that hold for a block."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
