# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Edges between classes, as labels of one more dense task."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS


@TRANSFORMS.register_module()
class NexusLabelEdges(BaseTransform):
    """Adds ``gt_edge`` (H, W) float32: 1 where a pixel's class differs from its right or lower neighbour's.

    Pixels without a class are -1 (not valid), and no edge runs along them. Put it behind the transforms that
    change the labels' pixels.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Derive the edges from ``gt_sem_seg``."""
        label = results['gt_sem_seg']
        known = label >= 0
        edge = np.zeros(label.shape, dtype=np.float32)
        for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
            differs = (label[here] != label[there]) & known[here] & known[there]
            edge[here] = np.maximum(edge[here], differs)
        edge[~known] = -1
        results['gt_edge'] = edge
        return results
