# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Muon for short trainings from scratch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from mmengine.registry import OPTIMIZERS
from pytorch_optimizer import Muon
from pytorch_optimizer.optimizer.utils.matrix import zero_power_via_gram_newton_schulz
from torch import Tensor
from torch.nn import Parameter

LEAST_SIDE = 16


def is_hidden_matrix(weight: Tensor) -> bool:
    """Whether a weight is a matrix, or a kernel seen as one, and neither of its sides is a handful of outputs.

    Example:
        >>> import torch
        >>> [is_hidden_matrix(torch.zeros(s)) for s in [(48, 48, 3, 3), (7, 48, 1, 1), (48,)]]
        [True, False, False]
    """
    return weight.ndim >= 2 and min(len(weight), weight[0].numel()) >= LEAST_SIDE


@OPTIMIZERS.register_module()
class NexusMuon(Muon):
    """Muon (Jordan et al., 2024) for hidden matrices, AdamW for norms, biases and output layers.

    The updates of the matrices are scaled to the size of AdamW's (Liu et al., 2025, eq. 4), so that one learning rate
    and one schedule serve both. To orthogonalise a matrix costs as much as a layer on thousands of rows: a group with
    ``use_muon=False`` leaves its matrices to AdamW too (mmengine: ``paramwise_cfg.custom_keys``). A group's
    ``lr_scale`` multiplies its learning rate in each step; mmengine's ``lr_mult`` is lost under its one-cycle
    schedule, which sets one rate for all groups.

    Args:
        params: Parameters, or groups of them with settings of their own.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.
        momentum: Of the matrices.
        betas: Of AdamW.
        eps: Of AdamW.

    Note:
        Matrices are orthogonalised in their own precision. The library does it in bfloat16, which a CPU without such
        instructions only emulates: measured, steps of the optimizer 12 to 28 times slower.
    """

    def __init__(
        self,
        params: Iterable[Parameter] | Iterable[dict],
        lr: float = 8e-3,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        groups = list(params)
        if not isinstance(groups[0], dict):
            groups = [dict(params=groups)]
        hidden = dict(use_muon=True, use_adjusted_lr=True, momentum=momentum)
        others = dict(use_muon=False, betas=tuple(betas), eps=eps)
        # mmengine makes a group of every parameter; those of the same settings are updated together
        merged: dict[str, dict] = {}
        for group in groups:
            allowed = group.get('use_muon', True)
            for wanted, settings in ((True, hidden), (False, others)):
                chosen = [p for p in group['params'] if (allowed and is_hidden_matrix(p)) is wanted]
                if chosen:
                    common = dict(lr=lr, weight_decay=weight_decay)
                    whole = {**common, **group, **settings, 'params': []}
                    merged.setdefault(repr(whole), whole)['params'] += chosen
        super().__init__(list(merged.values()))
        # mmengine's wrapper reads the base learning rate here
        self.defaults['lr'] = lr

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> object:
        """One step of all groups, each at its own share of the learning rate.

        A group without any gradient does not age: the library would count its steps, and AdamW's first ones, which it
        corrects for the few gradients so far, would be up to three times too large when it wakes.
        """
        with torch.enable_grad():
            loss = closure() if closure is not None else None
        rates = [group['lr'] for group in self.param_groups]
        for group in self.param_groups:
            group['step'] = group.get('step', 0) - all(p.grad is None for p in group['params'])
            group['lr'] *= group.get('lr_scale', 1.0)
        try:
            super().step()
            return loss
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group['lr'] = rate

    @staticmethod
    def _orthogonalize(group: dict, updates: Sequence[Tensor]) -> list[Tensor]:
        """The library gives matrices of one size, if those that are taller than wide are turned."""
        matrices = [update.flatten(1) for update in updates]
        tall = [len(matrix) > matrix.shape[1] for matrix in matrices]
        whole = torch.stack([m.mT if t else m for m, t in zip(matrices, tall, strict=True)])
        whole = zero_power_via_gram_newton_schulz(
            whole, num_steps=group['ns_steps'], weights=group['ns_coeffs'], dtype=whole.dtype
        )
        return [m.mT if t else m for m, t in zip(whole, tall, strict=True)]
