# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""One refinement layer of the map head."""

from __future__ import annotations

from torch import Tensor, nn

from ..bev.deformable import DeformableAttention
from ..bev.encoder import sine_encoding
from ..bev.grid import BEVGrid


class MapDecoderLayer(nn.Module):
    """Points read the BEV, talk along their own element, elements talk to each other; then points move.

    Args:
        channels: Channels of the queries.
        grid: The head's grid.
        num_classes: Map classes.
        num_heads: Attention heads.
    """

    def __init__(self, channels: int, grid: BEVGrid, num_classes: int, num_heads: int = 4) -> None:
        super().__init__()
        self.channels = channels
        self.cross = DeformableAttention(channels, grid, num_heads)
        self.along = nn.MultiheadAttention(channels, num_heads, batch_first=True)
        self.across = nn.MultiheadAttention(channels, num_heads, batch_first=True)
        self.ffn = nn.Sequential(
            nn.Linear(channels, 2 * channels),
            nn.ReLU(inplace=True),
            nn.Linear(2 * channels, channels),
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(4))
        self.cls = nn.Linear(channels, num_classes)
        self.reg = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, 2)
        )
        # the class starts as the anchor's, which the layer corrects
        nn.init.zeros_(self.cls.weight)
        nn.init.zeros_(self.cls.bias)
        nn.init.normal_(self.reg[-1].weight, std=1e-3)
        nn.init.zeros_(self.reg[-1].bias)

    def forward(
        self, queries: Tensor, points_m: Tensor, bev: Tensor, prior: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Refine.

        Args:
            queries: (B, N, P, C).
            points_m: (B, N, P, 2) current points.
            bev: (B, C, h, w) on the head's grid.
            prior: (B, N, L) logits to start from.

        Returns:
            Queries (B, N, P, C), class logits (B, N, L), points (B, N, P, 2).
        """
        batch, num, pts, channels = queries.shape
        position = sine_encoding(points_m, channels)
        flat = (queries + position).view(batch, num * pts, channels)
        read = self.cross(flat, points_m.view(batch, num * pts, 2), bev)
        queries = self.norms[0](queries + read.view_as(queries))
        x = (queries + position).view(batch * num, pts, channels)
        mixed = self.along(x, x, queries.view_as(x), need_weights=False)[0]
        queries = self.norms[1](queries + mixed.view_as(queries))
        instance, place = queries.mean(2), position.mean(2)
        x = instance + place
        told = self.across(x, x, instance, need_weights=False)[0]
        queries = self.norms[2](queries + told.unsqueeze(2))
        queries = self.norms[3](queries + self.ffn(queries))
        return queries, prior + self.cls(queries.mean(2)), points_m + self.reg(queries)
