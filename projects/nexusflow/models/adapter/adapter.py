# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""``NexusFlowAdapter``: a detector of any OpenMMLab library, by configuration, with a cross-task regulariser.

What is built is the detector itself, of a subclass of its own class that changes nothing but ``forward(mode='loss')``.
Names of parameters, inference, exports and checkpoints are therefore the bare detector's; a checkpoint has the keys
``nexusflow.*`` in addition, and one without them loads.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from mmdet3d.registry import MODELS
from torch import nn

from .alignment import TaskAlignment
from .labels import PartialLabels
from .taps import Tap


class NexusFlowAdapter:
    """What all adapted detectors have in common; :func:`adapt` makes them."""

    nexusflow: TaskAlignment

    def forward(self, inputs: Any, data_samples: list | None = None, mode: str = 'tensor') -> Any:
        """The detector's forward pass; in mode 'loss' with partial labels and the regulariser."""
        run = super().forward
        if mode != 'loss':
            return run(inputs, data_samples, mode=mode)
        return self.nexusflow(self, partial(run, mode='loss'), inputs, data_samples)

    def bare(self) -> nn.Module:
        """The detector as it was, with the same submodules: what to export, so that no unused parameter comes along."""
        detector = copy.copy(self)
        detector.__class__ = type(self).__mro__[2]
        detector._modules = {k: v for k, v in self._modules.items() if k != 'nexusflow'}
        return detector


@MODELS.register_module(name='NexusFlowAdapter')
def adapt(
    detector: dict | nn.Module,
    tasks: Mapping[str, Mapping[str, Any]],
    regulariser: dict | None = None,
    shared: str | Mapping[str, Any] | None = None,
) -> nn.Module:
    """Adapt a detector.

    Args:
        detector: Configuration of an mmengine model (``forward(inputs, data_samples, mode)``), or such a model, which
            is changed. A type with the prefix of its library, 'mmdet.MaskRCNN', is built in that library's scope.
        tasks: For each task

            - ``tap``: name of the submodule whose output is its feature, or arguments of :class:`Tap`; or several of
              these by name, for the parts of an aggregator of type 'mixture' or the entries of one of type 'levels';
            - ``aggregator``: ``type`` and arguments of its aggregator; ``in_channels`` is read off the tapped module
              where that has them;
            - ``losses``: patterns of the names of its losses. Either all tasks have them, or none, if the detector
              reads the samples' ``tasks`` itself;
            - ``labels``: label fields that it is trained on and that are hidden from samples that are not labelled
              for it, see :func:`nexusflow.models.adapter.hiding.hide`.
        regulariser: Cross-task regulariser; by default there is none, only partial labels.
        shared: Tap of the shared encoder's output, for regularisers that look at it.

    Returns:
        The detector, an instance of its class and of :class:`NexusFlowAdapter`.

    Raises:
        ValueError: If a tap does not exist, a task lacks a key, or the regulariser needs what an arbitrary detector
            does not offer.
    """
    model = build_detector(detector)
    taps = {task: make_taps(model, task, spec.get('tap')) for task, spec in tasks.items()}
    shared_tap = make_taps(model, 'shared', shared)['tap'] if shared else None
    labels = make_labels(tasks)
    module = build_regulariser(regulariser, tasks, taps, model) if regulariser else None
    if hasattr(model, 'nexusflow'):
        raise ValueError(f"{type(model).__name__} already has an attribute 'nexusflow'")
    # the first change of the model, after all that may fail
    model.nexusflow = TaskAlignment(taps, module, labels, shared_tap)
    if labels is not None:
        model.data_preprocessor.register_forward_pre_hook(labels.hide, with_kwargs=True)
    base = type(model)
    model.__class__ = type(f'NexusFlow{base.__name__}', (NexusFlowAdapter, base), {})
    return model


def build_detector(detector: dict | nn.Module) -> nn.Module:
    """The bare detector; nested types are looked up in the library that its own type names."""
    if isinstance(detector, nn.Module):
        return detector
    cfg = copy.deepcopy(detector)
    scope, _, _ = cfg['type'].rpartition('.')
    if scope:
        cfg.setdefault('_scope_', scope)
    return MODELS.build(cfg)


def make_taps(model: nn.Module, task: str, spec: str | Mapping[str, Any] | None) -> dict[str, Tap]:
    """A task's taps by name, checked against the model; a single one is called 'tap'."""
    if not spec:
        raise ValueError(
            f"task '{task}': 'tap' is missing; name the submodule that gives its feature"
        )
    named = {'tap': spec} if isinstance(spec, str) or 'module' in spec else spec
    taps = {k: Tap(module=v) if isinstance(v, str) else Tap(**v) for k, v in named.items()}
    for name in [name for tap in taps.values() for name in (tap.module, tap.rois) if name]:
        try:
            model.get_submodule(name)
        except AttributeError as error:
            found = type(model).__name__
            raise ValueError(f"task '{task}': {found} has no '{name}': {error}") from error
    return taps


def make_labels(tasks: Mapping[str, Mapping[str, Any]]) -> PartialLabels | None:
    """Partial labels, if the tasks declare losses."""
    without = [task for task, spec in tasks.items() if not spec.get('losses')]
    if len(without) == len(tasks):
        return None
    if without:
        raise ValueError(f"tasks {without} declare no 'losses' but others do; declare all or none")
    return PartialLabels(
        {task: spec['losses'] for task, spec in tasks.items()},
        {task: spec.get('labels', ()) for task, spec in tasks.items()},
    )


def build_regulariser(
    cfg: dict,
    tasks: Mapping[str, Mapping[str, Any]],
    taps: Mapping[str, Mapping[str, Tap]],
    model: nn.Module,
) -> nn.Module:
    """The regulariser, told what the taps give; the detector's random numbers are left as they are."""
    specs = {}
    for task, named in taps.items():
        channels = {
            name: channels_of(model.get_submodule(tap.module)) for name, tap in named.items()
        }
        aggregator = copy.deepcopy(dict(tasks[task].get('aggregator') or {}))
        names = 'tap' if list(named) == ['tap'] else list(aggregator.get('parts', named))
        specs[task] = dict(fill_channels(aggregator, channels, f"task '{task}'"), tap=names)
    with torch.random.fork_rng(devices=[]):
        regulariser = MODELS.build(
            {'_scope_': 'mmdet3d', **cfg}, default_args=dict(tasks=specs, channels=None)
        )
    if getattr(regulariser, 'needs_dense', False):
        raise ValueError(
            f"regulariser '{cfg['type']}' needs dense predictions and labels of all tasks on the same pixels, which an "
            'adapter cannot make for an arbitrary detector'
        )
    return regulariser


def channels_of(module: nn.Module) -> int | None:
    """Channels of a module's output, as convolutions, linear layers and necks tell them."""
    return getattr(module, 'out_channels', getattr(module, 'out_features', None))


def fill_channels(cfg: dict, channels: Mapping[str, int | None], where: str) -> dict:
    """An aggregator's configuration with ``in_channels`` wherever it is needed and not given.

    Args:
        cfg: The configuration, which is changed.
        channels: Channels by tap. A single tap may give all 'levels'; else they are the taps in order.
        where: What errors call it.

    Raises:
        ValueError: If the channels are nowhere to be found, or parts and taps differ in their names.
    """
    if 'parts' in cfg:
        if cfg['parts'].keys() != channels.keys():
            raise ValueError(f"{where}: taps {list(channels)} for 'parts' {list(cfg['parts'])}")
        for name, part in cfg['parts'].items():
            fill_channels(part, {name: channels[name]}, f'{where}, {name}')
    elif 'levels' in cfg:
        names = list(channels) * (len(cfg['levels']) if len(channels) == 1 else 1)
        for name, level in zip(names, cfg['levels'], strict=True):
            fill_channels(level, {name: channels[name]}, f'{where}, {name}')
    elif cfg.setdefault('in_channels', next(iter(channels.values()))) is None:
        raise ValueError(
            f"{where}: the tapped module does not tell its channels; give 'in_channels'"
        )
    return cfg
