# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Centre heatmaps on a BEV grid (CenterPoint, Yin et al., 2021): targets, peaks, and the focal loss per sample."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .bev.grid import BEVGrid


def prior_bias(probability: float) -> float:
    """Bias of a logit that starts at a probability (RetinaNet, Lin et al., 2017)."""
    return -math.log((1 - probability) / probability)


def draw_centers(
    centers_m: Tensor,
    labels: Tensor,
    valid: Tensor,
    grid: BEVGrid,
    num_classes: int,
    sigma_m: float,
    height: Tensor | None = None,
) -> Tensor:
    """Gaussian bumps at centres, exactly 1 at the cell that holds a centre.

    Args:
        centers_m: (B, K, 2) lidar frame.
        labels: (B, K) classes.
        valid: (B, K) which slots count; centres outside the grid are left out too.
        grid: The heatmap's grid.
        num_classes: Classes.
        sigma_m: Standard deviation.
        height: (K,) height of each slot's bump; 1 if not given.

    Returns:
        (B, num_classes, H, W) in [0, 1].
    """
    rows, cols = grid.shape
    cell, inside = grid.cell_of(centers_m)
    row, col = torch.div(cell, cols, rounding_mode='floor'), cell % cols
    ys, xs = torch.arange(rows, device=cell.device), torch.arange(cols, device=cell.device)
    scale = -0.5 * (grid.cell_m / sigma_m) ** 2
    bump_y = torch.exp(scale * (ys - row.unsqueeze(-1)).float() ** 2)
    bump_x = torch.exp(scale * (xs - col.unsqueeze(-1)).float() ** 2)
    bump = bump_y.unsqueeze(-1) * bump_x.unsqueeze(-2) * (valid & inside)[..., None, None]
    if height is not None:
        bump = bump * height[:, None, None]
    heat = bump.new_zeros(len(labels), num_classes, rows, cols)
    index = labels[..., None, None].expand_as(bump)
    return heat.scatter_reduce(1, index, bump, reduce='amax')


def top_peaks(heat: Tensor, count: int, window: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Highest cells that are maxima of their neighbourhood in their own class.

    Args:
        heat: (B, L, H, W) probabilities.
        count: Peaks a sample.
        window: Edge of the neighbourhood in cells, odd.

    Returns:
        Scores, flat cell indices and classes, each (B, count).
    """
    peaks = heat * (heat == F.max_pool2d(heat, window, stride=1, padding=window // 2))
    cells = heat.shape[2] * heat.shape[3]
    scores, index = peaks.flatten(1).topk(count, dim=1)
    return scores, index % cells, torch.div(index, cells, rounding_mode='floor')


def heatmap_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Penalty-reduced focal loss of CornerNet (Law and Deng, 2018, eq. 1), summed over a sample.

    Args:
        logits: (B, L, H, W).
        target: (B, L, H, W), 1 at centres.

    Returns:
        (B,) sums; divide by the number of centres.
    """
    log_p, log_not_p = F.logsigmoid(logits), F.logsigmoid(-logits)
    p = logits.sigmoid()
    is_center = target >= 1 - 1e-4
    positive = -((1 - p) ** 2) * log_p
    negative = -((1 - target) ** 4) * p**2 * log_not_p
    return torch.where(is_center, positive, negative).flatten(1).sum(1)
