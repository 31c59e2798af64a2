# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Queries as one container: what a frame's decoder gives, and what is carried from one frame to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from .box_code import CODE_SIZE

NEWBORN, PADDING = -1, -2


@dataclass
class TrackQueries:
    """Queries of one sample (M rows), or of a batch padded to the same number (B, M rows).

    Ids, scores, boxes (reference points and velocity are part of the box code), content and memory travel together, so
    that no filter can part them.

    Attributes:
        content: (..., C) embedding.
        code: (..., 10) box code, lidar frame of the last frame they were seen in.
        ids: (...) instance id in training, track id in inference; -1: none yet (newborn, or an inserted false
            positive), -2: padding.
        labels: (...) class.
        scores: (...) score of the last frame.
        missed: (...) frames since the score was last high enough.
        hits: (...) frames in which the score was high enough.
        memory: (..., K, C) embeddings of the last K frames, the latest first; K = 0 without a memory bank.
        age: (...) how many embeddings were put into the memory.
        mean: (..., 4) where it is expected: x, y, vx, vy, lidar frame; see :class:`MotionModel`.
        cov: (..., 4, 4) how sure that is.
        class_log: (..., L) sum over its frames of the log of each class's heat at its place; see :class:`HeatEvidence`.
        mass: (..., 2) sum over its frames of the squared heat of its class close to its place, and around it.
    """

    content: Tensor
    code: Tensor
    ids: Tensor
    labels: Tensor
    scores: Tensor
    missed: Tensor
    hits: Tensor
    memory: Tensor
    age: Tensor
    mean: Tensor
    cov: Tensor
    class_log: Tensor
    mass: Tensor

    @property
    def valid(self) -> Tensor:
        """(...) false: padding."""
        return self.ids != PADDING

    @classmethod
    def empty(
        cls,
        channels: int,
        device: torch.device,
        shape: Sequence[int] = (0,),
        memory: int = 0,
        num_classes: int = 7,
    ) -> TrackQueries:
        """Rows of padding, none by default.

        Args:
            channels: Channels of the content.
            device: Where the tensors live.
            shape: (M,) or (B, M).
            memory: Slots of the memory bank.
            num_classes: Track classes.
        """
        number = torch.zeros(*shape, dtype=torch.long, device=device)
        real = torch.zeros(*shape, device=device)
        code = torch.zeros(*shape, CODE_SIZE, device=device)
        code[..., 7] = 1
        return cls(
            content=torch.zeros(*shape, channels, device=device),
            code=code,
            ids=number + PADDING,
            labels=number,
            scores=real,
            missed=number,
            hits=number,
            memory=torch.zeros(*shape, memory, channels, device=device),
            age=number,
            mean=torch.zeros(*shape, 4, device=device),
            cov=torch.eye(4, device=device).repeat(*shape, 1, 1),
            class_log=torch.zeros(*shape, num_classes, device=device),
            mass=torch.zeros(*shape, 2, device=device),
        )

    def map(self, function: Callable[[Tensor], Tensor]) -> TrackQueries:
        """Apply a function of a tensor to every field."""
        return TrackQueries(**{f.name: function(getattr(self, f.name)) for f in fields(self)})

    def __getitem__(self, index: Tensor | int | tuple[Tensor, ...]) -> TrackQueries:
        if isinstance(index, Tensor) and index.dtype == torch.bool:
            # once for all fields, since the host waits for the device to learn how many rows there are
            index = index.nonzero(as_tuple=True)
        return self.map(lambda x: x[index])

    def __len__(self) -> int:
        return len(self.ids)


def concat(parts: Sequence[TrackQueries], dim: int = 0) -> TrackQueries:
    """Rows of several containers in order; ``dim`` 1 for batches."""
    return TrackQueries(
        **{
            f.name: torch.cat([getattr(p, f.name) for p in parts], dim)
            for f in fields(TrackQueries)
        }
    )


def batch_queries(samples: Sequence[TrackQueries]) -> TrackQueries:
    """Pad to the longest (at least one row, so that every parameter stays in the graph) and stack to (B, M, ...)."""
    size = max([len(s) for s in samples] + [1])
    channels, device = samples[0].content.shape[-1], samples[0].content.device
    slots, num_classes = samples[0].memory.shape[-2], samples[0].class_log.shape[-1]
    padded = [
        concat([s, TrackQueries.empty(channels, device, (size - len(s),), slots, num_classes)])
        for s in samples
    ]
    return TrackQueries(
        **{f.name: torch.stack([getattr(p, f.name) for p in padded]) for f in fields(TrackQueries)}
    )


def select(queries: TrackQueries, chosen: Tensor) -> TrackQueries:
    """Rows of each sample of a batch, in order, padded to the sample with the most (at least one row).

    Args:
        queries: (B, Q) rows.
        chosen: (B, Q) which rows to take.

    Returns:
        (B, M) rows; those of samples with fewer than M are padding, with the fields of whatever row stood there.
    """
    size = max(int(chosen.sum(1).max()), 1)
    order = chosen.int().argsort(dim=1, descending=True, stable=True)[:, :size]
    batch = torch.arange(len(order), device=order.device)[:, None]
    picked = queries[batch, order]
    return replace(picked, ids=picked.ids.masked_fill(~chosen.gather(1, order), PADDING))
