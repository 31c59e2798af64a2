# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Two stages: train first, then align, or fine-tune without alignment for comparison."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from contextlib import suppress

from mmdet3d.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn

from .diagnostics_hook import bare, check_names

_WANTS = {'extra_views': 0, 'needs_dense': False}


class Pause:
    """A regulariser that computes nothing and asks for nothing, until it is woken.

    Its weights stay in checkpoints and with the optimiser, which leaves them as they are.

    Args:
        regulariser: Any cross-task regulariser.
    """

    def __init__(self, regulariser: nn.Module) -> None:
        self.regulariser = regulariser
        self.trained = [p for p in regulariser.parameters() if p.requires_grad]
        self.own = {name: vars(regulariser)[name] for name in _WANTS if name in vars(regulariser)}
        vars(regulariser).update(_WANTS, forward=lambda views, samples: {})
        set_trained(self.trained, False)

    def wake(self) -> None:
        """Undo it all."""
        for name in ('forward', *_WANTS):
            vars(self.regulariser).pop(name)
        vars(self.regulariser).update(self.own)
        set_trained(self.trained, True)


@HOOKS.register_module()
class NexusTwoStageHook(Hook):
    """Aligns from ``begin`` on only, with parts of the model frozen then.

    Before ``begin`` the regulariser neither computes nor has a loss. The stage follows from the iteration alone, so a
    resumed run is in the right one. With ``align=False`` the regulariser never works, and the second stage is plain
    fine-tuning with the same budget. In distributed training the model is wrapped anew when a stage begins, since the
    wrapper must know which weights are trained; ``find_unused_parameters`` is not needed.

    Args:
        begin: Iteration (or epoch) at which the second stage begins; below 1, a share of the run.
        freeze: Names of modules that are not trained in the second stage; their normalisations and dropout are in
            evaluation mode then.
        align: Whether the regulariser works in the second stage.
        by_epoch: Whether ``begin`` counts epochs.
        regulariser: Name of the regulariser's module.

    Raises:
        ValueError: If ``begin`` is not positive, or (when training starts) not within the run, or a name is unknown.
    """

    priority = 'HIGH'

    def __init__(
        self,
        begin: float,
        freeze: Sequence[str] = (),
        align: bool = True,
        by_epoch: bool = False,
        regulariser: str = 'regulariser',
    ) -> None:
        if begin <= 0:
            raise ValueError(f"two stages: 'begin' must be positive, got {begin}")
        self.begin, self.freeze, self.align = begin, tuple(freeze), align
        self.by_epoch, self.regulariser = by_epoch, regulariser
        self._pause: Pause | None = None
        self._second = False

    def before_train(self, runner: Runner) -> None:
        """Put the regulariser to sleep."""
        model = bare(runner.model)
        check_names(model, self.freeze, 'freeze')
        length = runner.max_epochs if self.by_epoch else runner.max_iters
        if self._first_of_second(runner) >= length:
            raise ValueError(
                f"two stages: 'begin' is {self.begin}, but the training ends at {length}"
            )
        regulariser = None
        with suppress(AttributeError):
            regulariser = model.get_submodule(self.regulariser)
        if self.align and regulariser is None:
            raise ValueError(
                f"two stages: the model has no '{self.regulariser}' to align with; give it one, or "
                'set align=False'
            )
        if regulariser is not None:
            self._pause = Pause(regulariser)
            wrap_anew(runner)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None
    ) -> None:
        """Begin the second stage when its time has come, and keep what is frozen in evaluation mode."""
        now = runner.epoch if self.by_epoch else runner.iter
        if not self._second and now >= self._first_of_second(runner):
            self._begin_second(runner)
        if self._second:
            for name in self.freeze:
                bare(runner.model).get_submodule(name).eval()

    def after_train(self, runner: Runner) -> None:
        """Leave the model as one that was never asleep."""
        if self._pause is not None:
            self._pause.wake()
            self._pause = None

    def _first_of_second(self, runner: Runner) -> float:
        length = runner.max_epochs if self.by_epoch else runner.max_iters
        return round(self.begin * length) if self.begin < 1 else self.begin

    def _begin_second(self, runner: Runner) -> None:
        self._second = True
        if self.align and self._pause is not None:
            self._pause.wake()
            self._pause = None
        model = bare(runner.model)
        for name in self.freeze:
            set_trained(model.get_submodule(name).parameters(), False)
        wrap_anew(runner)
        frozen = f', frozen: {", ".join(self.freeze)}' if self.freeze else ''
        kind = 'alignment' if self.align else 'fine-tuning'
        runner.logger.info(f'second stage, {kind}{frozen}')


def set_trained(parameters: Sequence[nn.Parameter], trained: bool) -> None:
    """Switch the training of weights on or off; off, they have no gradient left."""
    for parameter in parameters:
        parameter.requires_grad_(trained)
        parameter.grad = None


def wrap_anew(runner: Runner) -> None:
    """In distributed training, let the wrapper find out again which weights are trained."""
    if isinstance(runner.model, MMDistributedDataParallel):
        model = runner.model.module
        runner.model = None
        # the old wrapper's hooks on the weights go when it is collected
        gc.collect()
        runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model)
        runner.model.train()
