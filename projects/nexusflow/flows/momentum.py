# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Copies of modules that follow them slowly: exponential moving averages of their weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

__all__ = ['MomentumCopy']


class MomentumCopy(nn.Module):
    """A copy of a module whose weights are moving averages of the module's, without gradient.

    Args:
        module: What is copied.
        momentum: Share m of the copy that stays at each update: copy = m copy + (1 - m) module.
    """

    def __init__(self, module: nn.Module, momentum: float) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.momentum = momentum

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the copy towards the module as it is now."""
        for own, new in zip(self.module.parameters(), module.parameters(), strict=True):
            own.lerp_(new, 1.0 - self.momentum)
        for kept, seen in zip(self.module.buffers(), module.buffers(), strict=True):
            kept.copy_(seen)
