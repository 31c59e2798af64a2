# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Map queries that start from lines traced through dense fields, and from anchors for the rings.

A line of sixty metres can not be told from its middle; its neighbourhood can be told anywhere. So what is dense is
learnt densely, which takes few steps, and the decoder starts from lines that are nearly right.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...geometry.vector_map import MAP_CLASSES
from ..bev.grid import BEVGrid
from ..heatmap import top_peaks
from .anchors import AnchorQueries
from .line_fields import read_class
from .queries import QueryStart
from .tracing import LineTracer

CROSSING = MAP_CLASSES.index('ped_crossing')


class TracedQueries(nn.Module):
    """Traced lines for the open classes, anchors drawn onto their lines for the classes of rings.

    Args:
        channels: Channels C.
        grid: The head's grid.
        num_classes: Map classes L.
        num_points: Points P of an element.
        num_queries: Elements N.
        num_rings: Elements among them that are rings, at least one.
        ring_class: The class whose elements are rings: by default the label of the crossings in ``MAP_CLASSES``. The
            head does not know the names of its classes: whoever gives a data set other ``map_classes`` sets it too.
        tracer: Arguments of :class:`LineTracer`.

    Raises:
        ValueError: There is no such class, or rings and traced lines do not add up to ``num_queries``.
    """

    def __init__(
        self,
        channels: int,
        grid: BEVGrid,
        num_classes: int,
        num_points: int,
        num_queries: int,
        num_rings: int = 10,
        ring_class: int = CROSSING,
        tracer: dict | None = None,
    ) -> None:
        super().__init__()
        self.grid, self.num_classes, self.num_queries = grid, num_classes, num_queries
        self.num_rings, self.ring_class = num_rings, ring_class
        self.anchors = AnchorQueries(channels, grid, num_classes, num_points, num_queries)
        self.fields = nn.Conv2d(channels, 4 * num_classes, 1)
        self.tracer = LineTracer(grid, num_points, **(tracer or {}))
        self._check()

    def _check(self) -> None:
        if not 0 <= self.ring_class < self.num_classes:
            raise ValueError(
                f'map head: tracing.ring_class is {self.ring_class}, but there are {self.num_classes} classes; '
                "set it to the place of 'ped_crossing' in the data set's map_classes"
            )
        most = self.num_rings + self.tracer.num_seeds
        if not 1 <= self.num_rings <= self.num_queries <= most:
            raise ValueError(
                f'map head: num_queries is {self.num_queries}, tracing.num_rings {self.num_rings} and '
                f'tracing.tracer.num_seeds {self.tracer.num_seeds}; num_queries must be at least num_rings, which is '
                'at least 1, and at most num_rings + num_seeds: raise num_seeds or change num_queries'
            )

    def forward(
        self, feature: Tensor, dense: Tensor, num_extra: int, segmentation: Tensor | None
    ) -> QueryStart:
        """Start.

        Args:
            feature: (B, C, h, w) the head's BEV feature.
            dense: (B, C, h, w) the head's dense feature, which the maps are predicted from.
            num_extra: Elements of the one-to-many group; there is none.
            segmentation: (B, L, h, w) logits of the auxiliary segmentation.

        Returns:
            Queries of ``num_queries`` elements; maps: the anchors', 'offset' and 'tangent' (B, L, 2, h, w).

        Raises:
            ValueError: If the head has no segmentation, or one-to-many queries are asked for.
        """
        if segmentation is None or num_extra:
            raise ValueError(
                "map_head.query_source 'traced' needs loss.seg_weight > 0 and has no one_to_many queries"
            )
        fields = self.fields(dense).unflatten(1, (self.num_classes, 2, 2))
        maps = dict(self.anchors.maps(dense), offset=fields[:, :, 0], tangent=fields[:, :, 1])
        points, labels, scores = self._propose(
            {name: value.detach().float() for name, value in maps.items()},
            segmentation.detach().float().sigmoid(),
        )
        nothing = scores.new_full((*labels.shape, self.num_classes), 1e-3).logit()
        logits = nothing.scatter(2, labels.unsqueeze(-1), scores.unsqueeze(-1).logit(1e-3))
        both = torch.cat([feature, dense], dim=1)
        both = self.grid.sample(both, points.flatten(1, 2)).unflatten(2, points.shape[1:3]).mean(-1)
        content = self.anchors.instance_embed(torch.cat([both.transpose(1, 2), logits], dim=-1))
        return QueryStart(
            content=content.unsqueeze(2) + self.anchors.point_embed.weight,
            points_m=points,
            logits=logits,
            position=None,
            groups=(self.num_queries,),
            maps=maps,
        )

    @torch.no_grad()
    def _propose(self, maps: dict[str, Tensor], prob: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points (B, N, P, 2), classes (B, N) and scores (B, N) of the elements."""
        rings, ring_scores = self._rings(maps)
        prob = prob.clone()
        prob[:, self.ring_class] = 0
        traced = self.tracer(prob, maps['offset'], maps['tangent'])
        lines, labels, scores = (x[:, : self.num_queries - self.num_rings] for x in traced)
        return (
            torch.cat([lines, rings], dim=1),
            F.pad(labels, (0, self.num_rings), value=self.ring_class),
            torch.cat([scores, ring_scores], dim=1),
        )

    def _rings(self, maps: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Rings (B, R, P, 2) that the best anchors offer, pulled onto their lines, and scores (B, R)."""
        heat = maps['heat'][:, self.ring_class, None].sigmoid()
        scores, index, _ = top_peaks(heat, self.num_rings)
        anchors = maps['anchor_pts_m'].flatten(2)
        rings = anchors.gather(1, index.unsqueeze(-1).expand(-1, -1, anchors.shape[-1]))
        points = rings.unflatten(-1, (-1, 2)).flatten(1, 2)
        labels = torch.full_like(index[:, :1], self.ring_class).expand(-1, points.shape[1])
        for _ in range(2):
            points = points + read_class(self.grid, maps['offset'], points, labels)
        return points.unflatten(1, (self.num_rings, -1)), scores
