# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Map queries that start from the peaks of an anchor heatmap, which learns in few steps.

Two-stage Deformable DETR's idea (Zhu et al., 2021): dense predictions propose, the decoder refines.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..bev.grid import BEVGrid
from ..heatmap import prior_bias, top_peaks
from .queries import QueryStart


class AnchorQueries(nn.Module):
    """Every cell offers an element, and how likely one is anchored there; the best cells become queries.

    Args:
        channels: Channels C.
        grid: The head's grid.
        num_classes: Map classes L.
        num_points: Points P of an element.
        num_queries: Elements N of the one-to-one group: the highest peaks. The one-to-many group takes the highest
            cells, several around one peak.
    """

    def __init__(
        self, channels: int, grid: BEVGrid, num_classes: int, num_points: int, num_queries: int
    ) -> None:
        super().__init__()
        self.num_classes, self.num_points, self.num_queries = num_classes, num_points, num_queries
        self.heat = nn.Conv2d(channels, num_classes, 1)
        self.points = nn.Conv2d(channels, num_points * 2, 1)
        self.instance_embed = nn.Linear(2 * channels + num_classes, channels)
        self.point_embed = nn.Embedding(num_points, channels)
        self.register_buffer('centers_m', grid.centers().view(1, -1, 1, 2), persistent=False)
        nn.init.constant_(self.heat.bias, prior_bias(0.01))
        nn.init.normal_(self.points.weight, std=1e-3)
        # anchors start as lines along y through their cell, a third of the range long
        line = torch.zeros(num_points, 2)
        line[:, 1] = torch.linspace(-0.5, 0.5, num_points) * (grid.range_m[3] - grid.range_m[1]) / 3
        with torch.no_grad():
            self.points.bias.copy_(line.flatten())

    def maps(self, dense: Tensor) -> dict[str, Tensor]:
        """What each cell offers: 'heat' (B, L, h, w) logits and 'anchor_pts_m' (B, h * w, P, 2)."""
        offsets = self.points(dense).flatten(2).transpose(1, 2)
        anchors = self.centers_m + offsets.unflatten(-1, (self.num_points, 2))
        return dict(heat=self.heat(dense), anchor_pts_m=anchors)

    def forward(
        self, feature: Tensor, dense: Tensor, num_extra: int, segmentation: Tensor | None
    ) -> QueryStart:
        """Start.

        Args:
            feature: (B, C, h, w) the head's BEV feature.
            dense: (B, C, h, w) the head's dense feature, which the maps are predicted from.
            num_extra: Elements to add for the one-to-many group.
            segmentation: Not read.

        Returns:
            Queries of ``num_queries + num_extra`` elements; maps: 'heat' (B, L, h, w) logits and 'anchor_pts_m'
            (B, h * w, P, 2).
        """
        maps = self.maps(dense)
        heat, anchors = maps['heat'], maps['anchor_pts_m']
        index = self._choose(heat.detach().sigmoid(), num_extra).unsqueeze(-1)
        both = torch.cat([feature, dense, heat.detach()], dim=1).flatten(2).transpose(1, 2)
        both = both.gather(1, index.expand(-1, -1, both.shape[-1]))
        points = anchors.detach().flatten(2).gather(1, index.expand(-1, -1, self.num_points * 2))
        return QueryStart(
            content=self.instance_embed(both).unsqueeze(2) + self.point_embed.weight,
            points_m=points.unflatten(-1, (self.num_points, 2)),
            logits=both[..., -self.num_classes :],
            position=None,
            groups=(self.num_queries, num_extra) if num_extra else (self.num_queries,),
            maps=maps,
        )

    def _choose(self, heat: Tensor, num_extra: int) -> Tensor:
        """Flat indices of the chosen cells, (B, num_queries + num_extra)."""
        index = top_peaks(heat, self.num_queries)[1]
        if not num_extra:
            return index
        around = heat.flatten(1).topk(num_extra, dim=1).indices % (heat.shape[2] * heat.shape[3])
        return torch.cat([index, around], dim=1)
