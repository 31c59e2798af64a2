# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The map head's decoder: queries attend, then classes are told and points move, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..bev.encoder import sine_encoding
from ..bev.grid import BEVGrid
from .attention import QueryState, build_attention
from .queries import QueryStart


class MapDecoder(nn.Module):
    """Layers of iterative refinement; a layer starts from the points of the one before, without gradient through them.

    Args:
        channels: Channels of the queries.
        grid: The head's grid.
        num_classes: Map classes.
        num_layers: Layers.
        layer: Other arguments of :class:`MapDecoderLayer`.
    """

    def __init__(
        self, channels: int, grid: BEVGrid, num_classes: int, num_layers: int = 2, **layer: Any
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            MapDecoderLayer(channels, grid, num_classes, **layer) for _ in range(num_layers)
        )

    def forward(self, start: QueryStart, bev: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Refine.

        Args:
            start: The queries.
            bev: (B, C, h, w) on the head's grid.

        Returns:
            Queries (B, N, P, C) after the last layer; (logits (B, N, L), points (B, N, P, 2)) of the start and of
            each layer.
        """
        queries, points_m = start.content, start.points_m
        outputs = [(start.logits, points_m)]
        for layer in self.layers:
            queries, logits, points_m = layer(queries, points_m, bev, start)
            outputs.append((logits, points_m))
            points_m = points_m.detach()
        return queries, outputs


class MapDecoderLayer(nn.Module):
    """A row of attentions, a feed-forward network, then the class is told and the points move.

    Args:
        channels: Channels of the queries.
        grid: The head's grid.
        num_classes: Map classes.
        attentions: Which attentions, in this order: 'cross' (points read the BEV), 'along' (points of an element),
            'across' (same points of all elements, MapTRv2), 'instances' (means of the elements, cheaper).
        num_heads: Attention heads.
        sample_points: Places that a head of 'cross' reads.
        ffn_channels: Width of the feed-forward network; twice the channels if not given.
        cls_hidden: Hidden layers of the class branch.
        reg_hidden: Hidden layers of the point branch.
        step_m: How far an output of 1 of the point branch moves a point, metres.
        dropout: Of attention weights and of updates.
    """

    def __init__(
        self,
        channels: int,
        grid: BEVGrid,
        num_classes: int,
        attentions: Sequence[str] = ('cross', 'along', 'instances'),
        num_heads: int = 4,
        sample_points: int = 4,
        ffn_channels: int | None = None,
        cls_hidden: int = 0,
        reg_hidden: int = 1,
        step_m: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.channels, self.step_m = channels, step_m
        width = ffn_channels or 2 * channels
        self.attentions = nn.ModuleList(
            build_attention(name, channels, grid, num_heads, sample_points, dropout)
            for name in attentions
        )
        self.ffn = nn.Sequential(
            nn.Linear(channels, width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(width, channels),
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(len(attentions) + 1))
        self.dropout = nn.Dropout(dropout)
        self.cls = branch(channels, num_classes, cls_hidden, norm=True)
        self.reg = branch(channels, 2, reg_hidden, norm=False)
        # the class starts as the query's prior and the points as its own, which the layer corrects
        nn.init.zeros_(self.cls[-1].weight)
        nn.init.normal_(self.reg[-1].weight, std=1e-3)
        nn.init.zeros_(self.cls[-1].bias)
        nn.init.zeros_(self.reg[-1].bias)

    def forward(
        self, queries: Tensor, points_m: Tensor, bev: Tensor, start: QueryStart
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Refine.

        Args:
            queries: (B, N, P, C).
            points_m: (B, N, P, 2) current points.
            bev: (B, C, h, w) on the head's grid.
            start: What the queries started from: their logits, learned positions and groups.

        Returns:
            Queries (B, N, P, C), class logits (B, N, L), points (B, N, P, 2).
        """
        position = sine_encoding(points_m, self.channels)
        if start.position is not None:
            position = position + start.position
        for attention, norm in zip(self.attentions, self.norms, strict=False):
            update = attention(QueryState(queries, position, points_m, start.groups), bev)
            queries = norm(queries + self.dropout(update))
        queries = self.norms[-1](queries + self.dropout(self.ffn(queries)))
        logits = start.logits + self.cls(queries.mean(2))
        return queries, logits, points_m + self.step_m * self.reg(queries)


def branch(channels: int, out: int, hidden: int, norm: bool) -> nn.Sequential:
    """Linear layers with ReLU, and LayerNorm before it on request; the last gives ``out`` channels."""
    layers: list[nn.Module] = []
    for _ in range(hidden):
        layers += [nn.Linear(channels, channels)]
        layers += [nn.LayerNorm(channels)] if norm else []
        layers += [nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(channels, out))
