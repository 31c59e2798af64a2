# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Where map queries come from: learned instances and points (MapTR, Liao et al., 2023, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..bev.grid import BEVGrid
from ..heatmap import prior_bias


@dataclass
class QueryStart:
    """Map queries before the first decoder layer.

    Attributes:
        content: (B, N, P, C).
        points_m: (B, N, P, 2), lidar frame.
        logits: (B, N, L) class logits that the layers correct.
        position: (B, N, P, C) learned position, None if there is none.
        groups: Sizes of the groups of elements that do not see each other: the one-to-one group, and in training
            the one-to-many group.
        maps: What else the source predicts, to be trained.
    """

    content: Tensor
    points_m: Tensor
    logits: Tensor
    position: Tensor | None
    groups: Sequence[int]
    maps: dict[str, Tensor] = field(default_factory=dict)


class LearnedQueries(nn.Module):
    """A query is the sum of its instance's and its point's embedding; its first place is a function of its position.

    Args:
        channels: Channels C.
        grid: The head's grid; first places lie in its range.
        num_classes: Map classes L.
        num_points: Points P of an element.
        num_queries: Elements N of the one-to-one group.
        num_extra: Elements of the one-to-many group; they have embeddings of their own (MapTRv2).
    """

    def __init__(
        self,
        channels: int,
        grid: BEVGrid,
        num_classes: int,
        num_points: int,
        num_queries: int,
        num_extra: int = 0,
    ) -> None:
        super().__init__()
        self.channels, self.num_classes, self.num_queries = channels, num_classes, num_queries
        self.instance_embed = nn.Embedding(num_queries + num_extra, 2 * channels)
        self.point_embed = nn.Embedding(num_points, 2 * channels)
        self.reference = nn.Linear(channels, 2)
        low, high = torch.tensor(grid.range_m).view(2, 2)
        self.register_buffer('low_m', low, persistent=False)
        self.register_buffer('size_m', high - low, persistent=False)
        nn.init.xavier_uniform_(self.reference.weight)
        nn.init.zeros_(self.reference.bias)

    def forward(
        self, feature: Tensor, dense: Tensor, num_extra: int, segmentation: Tensor | None
    ) -> QueryStart:
        """Start; the feature (B, C, h, w) only tells the size of the batch.

        Args:
            feature: The head's BEV feature.
            dense: The head's dense feature.
            num_extra: Elements to add for the one-to-many group.
            segmentation: Not read.

        Returns:
            Queries of ``num_queries + num_extra`` elements.
        """
        batch, number = len(feature), self.num_queries + num_extra
        embed = self.instance_embed.weight[:number, None] + self.point_embed.weight
        position, content = embed.expand(batch, -1, -1, -1).split(self.channels, dim=-1)
        points_m = self.low_m + self.reference(position).sigmoid() * self.size_m
        logits = feature.new_full((batch, number, self.num_classes), prior_bias(0.01))
        groups = (self.num_queries, num_extra) if num_extra else (self.num_queries,)
        return QueryStart(content, points_m, logits, position, groups)
