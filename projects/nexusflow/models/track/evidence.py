# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What a frame says of a query beside its score: of which class it is, and how well its place is known."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..bev.grid import BEVGrid
from .box_code import XY
from .queries import TrackQueries


class HeatEvidence(nn.Module):
    """Adds up over the frames what the centre heatmap has where a query's box is.

    Each class's highest heat nearby, as a logarithm: the frames' likelihoods multiply. And the squared heat of the
    query's own class in a small and in a large circle: where it is spread out along the line of sight, the object may
    be anywhere in it.

    Args:
        grid: The heatmap's grid.
        beside_m: Another class's heat for the same object has its peak within this distance, in steps of a cell, one at
            least.
        radii_m: Radii of the circles; the small one is the distance within which the official evaluation counts a box.
        least_prob: Added to the heat, so that no single frame rules a class out.
    """

    def __init__(
        self,
        grid: BEVGrid,
        beside_m: float = 1.28,
        radii_m: tuple[float, float] = (2.0, 6.0),
        least_prob: float = 0.05,
    ) -> None:
        super().__init__()
        self.grid, self.least_prob = grid, least_prob
        self.window = 2 * max(round(beside_m / grid.cell_m), 1) + 1
        reach = int(max(radii_m) / grid.cell_m)
        steps = torch.arange(-reach, reach + 1) * grid.cell_m
        away = torch.hypot(steps[:, None], steps[None])
        circles = torch.stack([away < radius for radius in radii_m]).unsqueeze(1).float()
        self.register_buffer('circles', circles, persistent=False)

    @torch.no_grad()
    def forward(self, heat: Tensor, queries: TrackQueries) -> TrackQueries:
        """Queries (B, Q) with this frame's heat (B, L, H, W), logits, added to their ``class_log`` and ``mass``."""
        probs = heat.float().sigmoid()
        cell, inside = self.grid.cell_of(queries.code[..., XY])
        highest = F.max_pool2d(probs, self.window, stride=1, padding=self.window // 2)
        spots = cell.unsqueeze(1).expand(-1, probs.shape[1], -1)
        given = (highest.flatten(2).gather(2, spots) * inside.unsqueeze(1)).transpose(1, 2)
        flat = probs.square().flatten(0, 1).unsqueeze(1)
        mass = F.conv2d(flat, self.circles, padding=self.circles.shape[-1] // 2)
        # (B, 2, L * H * W), of which a query reads its class's cell
        mass = mass.unflatten(0, probs.shape[:2]).transpose(1, 2).flatten(2)
        places = queries.labels * (probs.shape[2] * probs.shape[3]) + cell
        around = mass.gather(2, places.unsqueeze(1).expand(-1, 2, -1)) * inside.unsqueeze(1)
        return replace(
            queries,
            class_log=queries.class_log + (given + self.least_prob).log(),
            mass=queries.mass + around.transpose(1, 2),
        )
