# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A trained model from its configuration and checkpoint, without what only training needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from torch import Tensor, nn

from .compat import register_safe_globals

TRAINING_ONLY = 'regulariser'
# where our detector keeps it, and an adapted one
TRAINING_ONLY_PREFIXES = (f'{TRAINING_ONLY}.', f'nexusflow.{TRAINING_ONLY}.')


def build_model(
    cfg: Config,
    checkpoint: str,
    device: str | torch.device = 'cpu',
    keep_regulariser: bool = False,
) -> nn.Module:
    """The config's model with the weights of a checkpoint, ready to predict.

    Args:
        cfg: Configuration with ``model``.
        checkpoint: Path of the ``.pth`` file.
        device: Where the model goes.
        keep_regulariser: Whether the regulariser of the training is built and loaded too.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: Weights are missing, of another shape, or belong to another model.
    """
    if not Path(checkpoint).is_file():
        raise FileNotFoundError(f"checkpoint '{checkpoint}' does not exist; give a local .pth file")
    settings = dict(cfg.model)
    if not keep_regulariser:
        settings.pop(TRAINING_ONLY, None)
    model = MODELS.build(settings)
    register_safe_globals()
    content = torch.load(checkpoint, map_location='cpu', weights_only=True)
    weights = {
        name: value
        for name, value in content.get('state_dict', content).items()
        if keep_regulariser or not name.startswith(TRAINING_ONLY_PREFIXES)
    }
    fault = load_fault(model, weights)
    if fault is not None:
        raise ValueError(
            f'{checkpoint}: does not fit the model of {cfg.filename}: {fault}; give the config that it was trained with'
        )
    return model.to(device).eval()


def load_fault(model: nn.Module, weights: Mapping[str, Tensor]) -> str | None:
    """Load weights; what does not fit, or None."""
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        # torch's first line says that something is wrong, the second one which weight has another shape
        return str(error).splitlines()[1].strip()
    if not missing and not unexpected:
        return None
    return f'{len(missing)} weights are missing {missing[:3]}, {len(unexpected)} unknown {unexpected[:3]}'
