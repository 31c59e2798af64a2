# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Which queries of a training frame become the next frame's tracks (MOTR, Zeng et al., 2022, section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .assigner import FrameTargets
from .motion import MotionModel
from .queries import NEWBORN, TrackQueries, select


@dataclass
class CarryRule:
    """Matched queries live on, less dropped ones, some with a false positive beside them.

    A track whose object has left was trained as no object in this frame, and ends here.

    Attributes:
        drop_prob: A live query is dropped with this probability; its object is born again.
        insert_prob: With this probability a live query is accompanied by a false positive: the best unmatched newborn
            that no other has taken. It keeps no id, and so competes with the newborns of the next frame.
    """

    drop_prob: float = 0.1
    insert_prob: float = 0.3

    def __call__(
        self, queries: TrackQueries, matched: Tensor, targets: FrameTargets, motion: MotionModel
    ) -> TrackQueries:
        """Next frame's tracks.

        Args:
            queries: (B, Q) what the decoder made of the frame.
            matched: (B, Q) index into the targets, -1 for none.
            targets: The frame's objects.
            motion: What the tracks are known to do after this frame.

        Returns:
            (B, M) tracks with the ids and classes of their objects; boxes are those of the
            motion model, without gradient.
        """
        live = (matched >= 0) & (torch.rand(matched.shape, device=matched.device) >= self.drop_prob)
        wanted = live & (torch.rand(matched.shape, device=matched.device) < self.insert_prob)
        spare = (matched < 0) & (queries.ids == NEWBORN)
        order = queries.scores.masked_fill(~spare, -1).argsort(dim=1, descending=True)
        rank = order.argsort(dim=1)
        inserted = spare & (rank < wanted.sum(1, keepdim=True))
        index = matched.clamp(min=0)
        tracks = replace(
            motion.observe(queries, seen=live),
            ids=torch.where(live, targets.ids.gather(1, index), NEWBORN),
            labels=torch.where(live, targets.labels.gather(1, index), queries.labels),
        )
        return select(tracks, live | inserted)
