# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Decoder of the track head, and the query interaction module between frames."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..bev.deformable import DeformableAttention
from ..bev.encoder import sine_encoding
from ..bev.grid import BEVGrid
from .box_code import CODE_SIZE, XY


def feed_forward(channels: int) -> nn.Sequential:
    """Two linear layers with a ReLU between."""
    return nn.Sequential(
        nn.Linear(channels, 2 * channels), nn.ReLU(inplace=True), nn.Linear(2 * channels, channels)
    )


class TrackDecoderLayer(nn.Module):
    """Queries see each other, read the BEV around their box, and correct class and box.

    Args:
        channels: Channels of the queries.
        grid: The head's grid.
        num_classes: Track classes.
        num_heads: Attention heads.
    """

    def __init__(self, channels: int, grid: BEVGrid, num_classes: int, num_heads: int = 4) -> None:
        super().__init__()
        self.channels = channels
        self.box_embed = nn.Linear(CODE_SIZE - 2, channels)
        self.self_attention = nn.MultiheadAttention(channels, num_heads, batch_first=True)
        self.cross = DeformableAttention(channels, grid, num_heads)
        self.ffn = feed_forward(channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.cls = nn.Linear(channels, num_classes)
        self.reg = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, CODE_SIZE)
        )
        # the class starts as the heatmap's, which the layer corrects
        nn.init.zeros_(self.cls.weight)
        nn.init.zeros_(self.cls.bias)
        nn.init.normal_(self.reg[-1].weight, std=1e-3)
        nn.init.zeros_(self.reg[-1].bias)

    def forward(
        self, content: Tensor, code: Tensor, padding: Tensor, bev: Tensor, prior: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Refine.

        Args:
            content: (B, Q, C).
            code: (B, Q, 10) current boxes.
            padding: (B, Q) true where a row is padding.
            bev: (B, C, h, w) on the head's grid.
            prior: (B, Q, L) logits to start from.

        Returns:
            Content (B, Q, C), class logits (B, Q, L), boxes (B, Q, 10).
        """
        position = sine_encoding(code[..., XY], self.channels) + self.box_embed(code[..., 2:])
        x = content + position
        told = self.self_attention(x, x, content, key_padding_mask=padding, need_weights=False)[0]
        content = self.norms[0](content + told)
        content = self.norms[1](content + self.cross(content + position, code[..., XY], bev))
        content = self.norms[2](content + self.ffn(content))
        return content, prior + self.cls(content), code + self.reg(content)


class TrackDecoder(nn.Module):
    """Layers that refine the boxes one after the other.

    Args:
        channels: Channels of the queries.
        grid: The head's grid.
        num_classes: Track classes.
        num_layers: Layers.
        num_heads: Attention heads.
        checkpoint: Keep only the layers' inputs for the backward pass and compute them again (Chen et al., 2016): less
            memory for long clips, about a third more time. The backbone has a switch of its own, ``with_cp``.
    """

    def __init__(
        self,
        channels: int,
        grid: BEVGrid,
        num_classes: int,
        num_layers: int = 2,
        num_heads: int = 4,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.checkpoint = checkpoint
        self.layers = nn.ModuleList(
            TrackDecoderLayer(channels, grid, num_classes, num_heads) for _ in range(num_layers)
        )

    def forward(
        self,
        content: Tensor,
        code: Tensor,
        padding: Tensor,
        bev: Tensor,
        prior: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Refine.

        Args:
            content: (B, Q, C).
            code: (B, Q, 10) boxes to start from.
            padding: (B, Q) true where a row is padding.
            bev: (B, C, h, w) on the head's grid.
            prior: Gives the logits (B, Q, L) to start from at boxes (B, Q, 10).

        Returns:
            Content (B, Q, C), and for each layer logits (B, Q, L) and boxes (B, Q, 10).
        """
        outputs = []
        for layer in self.layers:
            inputs = content, code, padding, bev, prior(code.detach())
            if self.checkpoint and self.training:
                content, logits, code = checkpoint(layer, *inputs, use_reentrant=False)
            else:
                content, logits, code = layer(*inputs)
            outputs.append((logits, code))
            code = code.detach()
        return content, outputs


class QueryInteraction(nn.Module):
    """Turns a frame's output queries into the next frame's track queries (MOTR, Zeng et al., 2022, section 3.4).

    Args:
        channels: Channels of the queries.
        num_heads: Attention heads.
    """

    def __init__(self, channels: int, num_heads: int = 4) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, num_heads, batch_first=True)
        self.ffn = feed_forward(channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))

    def forward(self, content: Tensor, valid: Tensor) -> Tensor:
        """Update (B, M, C) contents; rows that are not valid are ignored by the others."""
        padding = ~valid
        # a sample without any track would make an empty softmax: let it attend to its own padding
        padding = padding & valid.any(1, keepdim=True)
        mixed = self.attention(
            content, content, content, key_padding_mask=padding, need_weights=False
        )[0]
        content = self.norms[0](content + mixed)
        return self.norms[1](content + self.ffn(content))
