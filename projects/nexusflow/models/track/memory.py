# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Memory bank: a track looks back at its own last embeddings (MOTR, Zeng et al., 2022; UniAD, Hu et al., 2023)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from .queries import TrackQueries


class MemoryBank(nn.Module):
    """Puts each track's content into its memory, then refreshes the content from the memory.

    Args:
        channels: Channels of the queries.
        length: Embeddings kept.
        num_heads: Attention heads.
    """

    def __init__(self, channels: int, length: int = 4, num_heads: int = 4) -> None:
        super().__init__()
        if length < 1:
            raise ValueError(f'track head: memory.length is {length}, it must be at least 1')
        self.length = length
        self.slot_embed = nn.Parameter(torch.randn(length, channels) * 0.02)
        self.attention = nn.MultiheadAttention(channels, num_heads, batch_first=True)
        self.norm = nn.LayerNorm(channels)
        self.save = nn.Linear(channels, channels)

    def forward(self, tracks: TrackQueries) -> TrackQueries:
        """Update a batch (B, M) of tracks as they come from the frame before."""
        saved = self.save(tracks.content).unsqueeze(2)
        memory = torch.cat([saved, tracks.memory[:, :, :-1]], dim=2)
        age = tracks.age + 1
        empty = torch.arange(self.length, device=age.device) >= age.unsqueeze(-1)
        content, stored = tracks.content.flatten(0, 1), memory.flatten(0, 1)
        told = self.attention(
            content[:, None],
            stored + self.slot_embed,
            stored,
            key_padding_mask=empty.flatten(0, 1),
            need_weights=False,
        )[0][:, 0]
        content = self.norm(content + told).view_as(tracks.content)
        return replace(tracks, content=content, memory=memory, age=age)
