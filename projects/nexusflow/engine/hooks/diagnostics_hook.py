# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What the alignment does during training: logged as numbers, and a warning when a surrogate collapses."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from mmdet3d.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from ...flows.collapse import CollapseTest
from ...flows.coupling import CouplingFlow
from ...flows.diagnostics import Passes, alignment_scalars, cosine, lemma1_scalars
from ...flows.nexus import NexusFlow, Surrogate
from ..task_gradients import task_gradients

ADVICE = (
    'try guard=dict(weight=1.0) of the regulariser or more, a smaller learning rate of it, or a '
    'smaller weight'
)


@HOOKS.register_module()
class NexusDiagnosticsHook(Hook):
    """Numbers ``align/...`` go to the visualizer (``vis_data/scalars.json``), warnings to the log.

    They are those of :func:`nexusflow.flows.diagnostics.alignment_scalars` over the samples of the last iterations and
    ``align/round_trip_<task>``. More seldom, for their cost: :func:`nexusflow.flows.diagnostics.lemma1_scalars`, the
    cosine between the tasks' gradients on the encoder that they share, ``align/cos_<i>_<j>``, and the gradients'
    lengths ``align/gradient_<i>``; a task that the batch has no label of keeps its last gradient.

    The training itself is not changed: weights are bit for bit those of a run without the hook. A model without
    :class:`NexusFlow` has its gradients compared all the same.

    Args:
        interval: Iterations between the numbers of the embeddings and between tests for collapse.
        grad_interval: Iterations between Lemma 1 and the gradients, which cost about a training step; 0 for never.
        window: The embeddings of so many last iterations are looked at.
        max_rows: At most so many samples of them, but never less than the last iteration.
        shared: Names of the modules that the tasks share.
        tasks: Task to patterns of its losses' names, if they are not called ``loss_<task>_...``.
        collapse: Arguments of :class:`nexusflow.flows.collapse.CollapseTest`.
    """

    priority = 'LOW'

    def __init__(
        self,
        interval: int = 10,
        grad_interval: int = 100,
        window: int = 32,
        max_rows: int = 64,
        shared: Sequence[str] = ('img_backbone', 'img_neck', 'lift'),
        tasks: Mapping[str, Sequence[str]] | None = None,
        collapse: Mapping | None = None,
    ) -> None:
        self.interval, self.grad_interval = interval, grad_interval
        self.window, self.max_rows = window, max_rows
        self.shared, self.patterns = tuple(shared), tasks
        self.test = CollapseTest(**(collapse or {}))
        self._collapsed: set[str] = set()
        self._gradients: dict[str, Tensor] = {}
        self._recent: dict[str, deque[tuple[Tensor, Tensor]]] = {}
        self._surrogates: dict[str, Surrogate] = {}
        self._handles: list = []
        self._listening = True

    def before_train(self, runner: Runner) -> None:
        """Listen to the surrogates.

        Raises:
            ValueError: If gradients are wanted, and the model has no module of a name in ``shared``.
        """
        model = bare(runner.model)
        if self.grad_interval > 0:
            check_names(model, self.shared, 'shared')
        nexus = next((m for m in model.modules() if isinstance(m, NexusFlow)), None)
        self._surrogates = {} if nexus is None else dict(nexus.surrogates)
        self._recent = {task: deque(maxlen=self.window) for task in self._surrogates}
        for task, surrogate in self._surrogates.items():
            self._handles.append(surrogate.register_forward_hook(self._listener(task)))

    def after_train(self, runner: Runner) -> None:
        """Listen no more."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Measure, log, warn."""
        scalars = {}
        if self.every_n_train_iters(runner, self.interval):
            scalars = self._measure_embeddings(runner)
        if self.every_n_train_iters(runner, self.grad_interval):
            scalars |= self._measure_lemma() | self._measure_gradients(runner, data_batch)
        if scalars:
            numbers = {f'align/{name}': float(value) for name, value in scalars.items()}
            runner.visualizer.add_scalars(numbers, step=runner.iter + 1)

    def _listener(self, task: str) -> object:
        def listen(module: nn.Module, args: tuple, output: tuple[Tensor, Tensor]) -> None:
            if self._listening and module.training:
                h, z = (vectors.detach().float() for vectors in output)
                self._recent[task].append((h, z))

        return listen

    def _passes(self) -> dict[str, list[tuple[Tensor, Tensor]]]:
        """Each task's h' and z (B, D) of the last passes; nothing before there are three samples."""
        counts = [len(h) for h, _ in next(iter(self._recent.values()), ())]
        keep = 0
        while keep < len(counts) and sum(counts[-keep - 1 :]) <= max(self.max_rows, counts[-1]):
            keep += 1
        if sum(counts[len(counts) - keep :]) < 3:
            return {}
        return {task: list(recent)[-keep:] for task, recent in self._recent.items()}

    def _embeddings(self) -> dict[str, Tensor]:
        """Each task's h' (samples, D), those of :meth:`_passes`."""
        return {task: torch.cat([h for h, _ in pairs]) for task, pairs in self._passes().items()}

    def _measure_embeddings(self, runner: Runner) -> dict[str, Tensor]:
        passes = self._passes()
        if not passes:
            return {}
        self._warn(runner, passes)
        scalars = alignment_scalars(passes)
        with torch.no_grad():
            for task, h in self._embeddings().items():
                surrogate = self._surrogates[task]
                error = surrogate.round_trip_error(h, surrogate.flow(h))
                if error is not None:
                    scalars[f'round_trip_{task}'] = error
        return scalars

    def _warn(self, runner: Runner, passes: Passes) -> None:
        """Name each task once when its surrogate collapses, and again if it does so again."""
        found = self.test.collapsed(passes)
        for task in sorted(found.keys() - self._collapsed):
            runner.logger.warning(
                f"iteration {runner.iter + 1}: surrogate of task '{task}' has collapsed: {found[task]} over the last "
                f'{len(passes[task])} iterations; it agrees with the other tasks by saying nothing: {ADVICE}'
            )
        self._collapsed = set(found)

    def _measure_lemma(self) -> dict[str, Tensor]:
        flows = {task: surrogate.flow for task, surrogate in self._surrogates.items()}
        embeddings = self._embeddings()
        if not embeddings or not all(isinstance(flow, CouplingFlow) for flow in flows.values()):
            return {}
        return lemma1_scalars(flows, embeddings)

    def _measure_gradients(self, runner: Runner, data_batch: object) -> dict[str, Tensor]:
        model = bare(runner.model)
        modules = [model.get_submodule(name) for name in self.shared]
        shared = [p for module in modules for p in module.parameters() if p.requires_grad]
        if not shared:
            return {}
        self._listening = False
        try:
            gradients = task_gradients(
                model, data_batch, shared, runner.optim_wrapper, self.patterns
            )
        finally:
            self._listening = True
        self._gradients = {
            task: gradient
            for task, gradient in (self._gradients | nonzero(gradients)).items()
            if len(gradient) == len(next(iter(gradients.values())))
        }
        scalars = {f'gradient_{task}': g.norm() for task, g in nonzero(gradients).items()}
        for i, j in combinations(self._gradients, 2):
            scalars[f'cos_{i}_{j}'] = cosine(self._gradients[i], self._gradients[j])
        return scalars


def nonzero(gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those gradients that are not 0 throughout."""
    return {task: gradient for task, gradient in gradients.items() if gradient.any()}


def bare(model: nn.Module) -> nn.Module:
    """The model without the wrapper of distributed training."""
    return model.module if is_model_wrapper(model) else model


def check_names(model: nn.Module, names: Sequence[str], field: str) -> None:
    """Refuse names of modules that the model does not have.

    Raises:
        ValueError: Naming the field of the hook and what the model has.
    """
    known = dict(model.named_modules())
    for name in names:
        if name not in known:
            raise ValueError(
                f"hook: '{field}' names '{name}', which the model does not have; its modules are "
                f'{[child for child, _ in model.named_children()]}'
            )
