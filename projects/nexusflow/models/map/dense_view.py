# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The map head as a dense task: its segmentation beside the lines drawn on the same cells."""

from __future__ import annotations

from collections.abc import Sequence

from ...supervision.masking import label_mask
from ...supervision.view import DenseView
from .map_head import NexusMapHead
from .segmentation import line_masks


def map_dense_view(head: NexusMapHead, outputs: dict, samples: Sequence) -> DenseView:
    """Masks of the map classes on the head's grid.

    Args:
        head: The head.
        outputs: What its forward returned.
        samples: B data samples with ``gt_map`` and ``tasks``; labels of unlabelled ones are not read.

    Returns:
        Dense view of kind 'masks', (B, L, h, w), rows along y and columns along x of the lidar frame.

    Raises:
        ValueError: If the head has no segmentation.
    """
    if 'segmentation' not in outputs:
        raise ValueError(
            'map head: its dense view is the auxiliary segmentation, which it does not have; '
            'set map_head.loss.seg_weight above 0'
        )
    logits = outputs['segmentation']
    targets = head.targets([s.gt_map if head.task in s.tasks else None for s in samples])
    masks = line_masks(targets, head.grid, head.num_classes).to(logits)
    labelled = label_mask([sample.tasks for sample in samples], head.task, logits.device)
    valid = labelled[:, None, None, None].expand(-1, 1, *logits.shape[-2:])
    # a sample without labels has no lines: its target is 0
    return DenseView('masks', logits, masks, valid, labelled)
