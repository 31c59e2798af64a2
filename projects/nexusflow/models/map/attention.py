# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What a map query attends to: the BEV, the points of its own element, other elements.

MapTRv2 (Liao et al., 2024, section 3.3) decouples self-attention: N elements of P points cost N^2 P + N P^2 instead
of (N P)^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..bev.deformable import DeformableAttention
from ..bev.grid import BEVGrid


class QueryState(NamedTuple):
    """Map queries at one moment.

    Attributes:
        content: (B, N, P, C).
        position: (B, N, P, C) position encoding.
        points_m: (B, N, P, 2) where the points are, lidar frame.
        groups: Sizes of the groups of elements that do not see each other; they sum to N.
    """

    content: Tensor
    position: Tensor
    points_m: Tensor
    groups: Sequence[int]


class ReadBEV(nn.Module):
    """Every point reads the BEV around itself.

    Args:
        channels: Channels C.
        grid: The head's grid.
        num_heads: Attention heads.
        sample_points: Places that a head reads.
    """

    def __init__(self, channels: int, grid: BEVGrid, num_heads: int, sample_points: int) -> None:
        super().__init__()
        self.attention = DeformableAttention(channels, grid, num_heads, sample_points)

    def forward(self, state: QueryState, bev: Tensor) -> Tensor:
        """Update (B, N, P, C) from the head's BEV (B, C, h, w)."""
        query = (state.content + state.position).flatten(1, 2)
        return self.attention(query, state.points_m.flatten(1, 2), bev).view_as(state.content)


class SelfAttention(nn.Module):
    """What the self-attentions of map queries share.

    Args:
        channels: Channels C.
        num_heads: Attention heads.
        dropout: Of the attention weights.
    """

    def __init__(self, channels: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, num_heads, dropout, batch_first=True)


class AlongElement(SelfAttention):
    """The points of an element see each other."""

    def forward(self, state: QueryState, bev: Tensor) -> Tensor:
        """Update (B, N, P, C)."""
        value = state.content.flatten(0, 1)
        x = value + state.position.flatten(0, 1)
        return self.attention(x, x, value, need_weights=False)[0].view_as(state.content)


class AcrossElements(SelfAttention):
    """The p-th points of all elements of a group see each other, for every p (MapTRv2)."""

    def forward(self, state: QueryState, bev: Tensor) -> Tensor:
        """Update (B, N, P, C)."""
        batch = len(state.content)
        value = state.content.transpose(1, 2).flatten(0, 1)
        x = value + state.position.transpose(1, 2).flatten(0, 1)
        told = attend_in_groups(self.attention, x, value, state.groups)
        return told.unflatten(0, (batch, -1)).transpose(1, 2)


class BetweenInstances(SelfAttention):
    """Elements of a group see each other by the means of their points; all points are told the same."""

    def forward(self, state: QueryState, bev: Tensor) -> Tensor:
        """Update (B, N, 1, C)."""
        value = state.content.mean(2)
        x = value + state.position.mean(2)
        return attend_in_groups(self.attention, x, value, state.groups).unsqueeze(2)


def attend_in_groups(
    attention: nn.MultiheadAttention, x: Tensor, value: Tensor, groups: Sequence[int]
) -> Tensor:
    """Self-attention of (B, N, C) within each group; what a mask would give, at the cost of the groups alone."""
    sizes = list(groups)
    parts = zip(x.split(sizes, dim=1), value.split(sizes, dim=1), strict=True)
    return torch.cat([attention(q, q, v, need_weights=False)[0] for q, v in parts], dim=1)


SELF_ATTENTIONS = {'along': AlongElement, 'across': AcrossElements, 'instances': BetweenInstances}


def build_attention(
    name: str, channels: int, grid: BEVGrid, num_heads: int, sample_points: int, dropout: float
) -> nn.Module:
    """One of ``cross``, ``along``, ``across``, ``instances``: a module (state, bev) -> update.

    Raises:
        ValueError: For another name.
    """
    if name == 'cross':
        return ReadBEV(channels, grid, num_heads, sample_points)
    if name not in SELF_ATTENTIONS:
        raise ValueError(
            f"decoder.attentions: '{name}' is not one of cross, along, across, instances"
        )
    return SELF_ATTENTIONS[name](channels, num_heads, dropout)
