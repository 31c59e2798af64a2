# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Track queries: what is carried from one frame to the next, in one container."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .box_code import CODE_SIZE, move_boxes


@dataclass
class TrackQueries:
    """Tracks of one sample, or of a batch padded to the same number.

    Ids, scores, boxes and content travel together, so that no filter can part them.

    Attributes:
        content: (M, C) embedding.
        code: (M, 10) box code, lidar frame of the last frame they were seen in.
        ids: (M,) instance id in training, track id in inference; -1: none (padding, or an inserted false positive).
        labels: (M,) class of the last frame.
        scores: (M,) score of the last frame.
        missed: (M,) frames since the score was last high enough.
        valid: (M,) false: padding.
    """

    content: Tensor
    code: Tensor
    ids: Tensor
    labels: Tensor
    scores: Tensor
    missed: Tensor
    valid: Tensor

    @classmethod
    def empty(cls, channels: int, device: torch.device, size: int = 0) -> TrackQueries:
        """No track: ``size`` rows of padding."""

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(size, *shape, device=device, dtype=dtype)

        code = zeros(CODE_SIZE)
        code[:, 7] = 1
        long = torch.long
        return cls(
            content=zeros(channels),
            code=code,
            ids=zeros(dtype=long) - 1,
            labels=zeros(dtype=long),
            scores=zeros(),
            missed=zeros(dtype=long),
            valid=zeros(dtype=torch.bool),
        )

    def map(self, function: object) -> TrackQueries:
        """Apply a function of a tensor to every field."""
        return TrackQueries(**{f.name: function(getattr(self, f.name)) for f in fields(self)})

    def __getitem__(self, index: Tensor) -> TrackQueries:
        return self.map(lambda x: x[index])

    def __len__(self) -> int:
        return len(self.ids)


def concat(parts: Sequence[TrackQueries]) -> TrackQueries:
    """Rows of several containers in order."""
    return TrackQueries(
        **{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(TrackQueries)}
    )


def batch_queries(samples: Sequence[TrackQueries]) -> TrackQueries:
    """Pad to the longest (at least one row, so that every parameter stays in the graph) and stack to (B, M, ...)."""
    size = max([len(s) for s in samples] + [1])
    channels, device = samples[0].content.shape[-1], samples[0].content.device
    padded = [concat([s, TrackQueries.empty(channels, device, size - len(s))]) for s in samples]
    return TrackQueries(
        **{f.name: torch.stack([getattr(p, f.name) for p in padded]) for f in fields(TrackQueries)}
    )


def move_queries(tracks: TrackQueries, prev2curr: Tensor, seconds: Tensor) -> TrackQueries:
    """A padded batch (B, M) moved to the current frame by velocity and ego motion."""
    moved = move_boxes(tracks.code, prev2curr, seconds)
    values = {f.name: getattr(tracks, f.name) for f in fields(tracks)}
    return TrackQueries(**{**values, 'code': moved})
