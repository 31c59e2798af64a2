# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The track head as a dense task: its centre heatmap beside Gaussian bumps at the objects, on any grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...supervision.view import DenseView
from ..bev.grid import BEVGrid
from .assigner import FrameTargets
from .track_head import NexusTrackHead


def track_dense_view(
    head: NexusTrackHead, frames: Sequence[dict], clips: Sequence[Sequence], grid: BEVGrid
) -> DenseView:
    """Masks of the track classes, prediction and target read from the head's grid in the same way.

    Args:
        head: The head.
        frames: Outputs of the clips' T frames, as the head's ``loss`` gives them.
        clips: B clips of T data samples with ``gt_instances_3d`` and ``tasks``. As in the head's losses, a clip is
            labelled if all its frames are; labels of the others are not read.
        grid: Grid of the result, within the range of the head's.

    Returns:
        Dense view of kind 'masks', (B * T, L, h, w), clip by clip.
    """
    heat = torch.stack([frame['heat'] for frame in frames], dim=1).flatten(0, 1)
    samples = [(sample, clip) for clip in clips for sample in clip]
    on = [all(head.task in each.tasks for each in clip) for _, clip in samples]
    gts = [sample.gt_instances_3d for sample, _ in samples]
    bumps = head.loss_fn.bumps(FrameTargets.stack(gts, on, heat.device)).to(heat)
    labelled = torch.tensor(on, device=heat.device)
    valid = labelled[:, None, None, None].expand(-1, 1, *grid.shape)
    logits, target = (head.grid.resample(maps, grid) for maps in (heat, bumps))
    return DenseView('masks', logits, target, valid, labelled)
