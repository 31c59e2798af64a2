# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""SegNet (Badrinarayanan et al., 2017), encoder and decoder: of dense tasks, and of MTPSL and JTR on task maps.

Both methods run their network on one image at a time, so that its batch normalisation sees the
statistics of that image, and throw the running statistics away with the network after training. That
is instance normalisation; said so, a whole batch takes one call, and no sample depends on another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ['WIDTHS', 'ConvNorm', 'Pool', 'SegNetDecoder', 'SegNetEncoder', 'xavier']

WIDTHS = (64, 128, 256, 512, 512)
"""Published widths of the stages; the first two have two convolutions, the others three."""


Norm = Callable[[int], nn.Module]
"""From a number of channels to a normalisation."""


def image_norm(channels: int) -> nn.Module:
    """Normalisation of each image by itself."""
    return nn.InstanceNorm2d(channels, affine=True)


class Pool(NamedTuple):
    """What max-unpooling needs: where the maxima were, and the (H, W) before pooling."""

    places: Tensor
    size: tuple[int, int]


class ConvNorm(nn.Module):
    """3x3 convolution, normalisation, feature-wise modulation (FiLM) if given, ReLU.

    Args:
        in_channels: Channels in.
        channels: Channels out.
        norm: Makes the normalisation; of each image by itself if not given.
    """

    def __init__(self, in_channels: int, channels: int, norm: Norm = image_norm) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.norm = norm(channels)

    def forward(self, x: Tensor, film: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(B, C, H, W) to (B, channels, H, W); ``film``: scale and shift, (B, channels) each."""
        x = self.norm(self.conv(x))
        if film is not None:
            scale, shift = film
            x = x * scale[..., None, None] + shift[..., None, None]
        return F.relu(x)


def depths_of(widths: Sequence[int], depths: Sequence[int] | None) -> tuple[int, ...]:
    """Convolutions of each stage; the published ones if not given.

    Raises:
        ValueError: If there is not one number for each width.
    """
    found = [2 if stage < 2 else 3 for stage in range(len(widths))] if depths is None else depths
    if len(found) != len(widths) or not found or min(found) < 1:
        raise ValueError(f"'depths' {list(found)}: one number for each of 'widths' {list(widths)}")
    return tuple(found)


class SegNetEncoder(nn.Module):
    """Stages of convolutions, each followed by 2x2 max-pooling.

    Args:
        in_channels: Channels in.
        widths: Channels of the stages.
        depths: Convolutions of the stages.
        norm: Makes the normalisations.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int] = WIDTHS,
        depths: Sequence[int] | None = None,
        norm: Norm = image_norm,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        self.layer_widths: list[int] = []
        for width, depth in zip(widths, depths_of(widths, depths), strict=True):
            sizes = [in_channels] + [width] * depth
            pairs = zip(sizes, sizes[1:], strict=False)
            self.stages.append(nn.ModuleList(ConvNorm(*pair, norm) for pair in pairs))
            self.layer_widths += [width] * depth
            in_channels = width

    def forward(
        self, x: Tensor, film: Sequence[tuple[Tensor, Tensor]] | None = None
    ) -> tuple[Tensor, list[Pool]]:
        """Encode.

        Args:
            x: (B, C, H, W).
            film: For each convolution its scale and shift, (B, width) each.

        Returns:
            (B, widths[-1], H // 2^S, W // 2^S) after S stages, and what the decoder needs.

        Raises:
            ValueError: If the maps are too small for the stages.
        """
        stages = len(self.stages)
        if min(x.shape[-2:]) < 2**stages:
            raise ValueError(
                f'maps of {x.shape[-2]} x {x.shape[-1]} are too small for {stages} stages; '
                "give fewer 'widths' or a finer raster"
            )
        modulation = iter(film) if film is not None else None
        pools = []
        for stage in self.stages:
            assert isinstance(stage, nn.ModuleList)
            for layer in stage:
                x = layer(x, next(modulation) if modulation is not None else None)
            size = (x.shape[-2], x.shape[-1])
            x, index = F.max_pool2d(x, 2, return_indices=True)
            pools.append(Pool(index, size))
        return x, pools


class SegNetDecoder(nn.Module):
    """The encoder's mirror: max-unpooling, then the stage's convolutions; a linear layer at the end.

    Args:
        out_channels: Channels out; None: no linear layer, the last stage's ``widths[0]`` come out.
        widths: The encoder's.
        depths: The encoder's.
        norm: Makes the normalisations.
    """

    def __init__(
        self,
        out_channels: int | None,
        widths: Sequence[int] = WIDTHS,
        depths: Sequence[int] | None = None,
        norm: Norm = image_norm,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for stage, depth in reversed(list(enumerate(depths_of(widths, depths)))):
            width = widths[max(stage - 1, 0)]
            sizes = [widths[stage]] + [width] * depth
            self.stages.append(
                nn.Sequential(*(ConvNorm(*p, norm) for p in zip(sizes, sizes[1:], strict=False)))
            )
        self.output = nn.Sequential()
        if out_channels is not None:
            self.output.append(nn.Conv2d(widths[0], widths[0], 3, padding=1))
            self.output.append(nn.Conv2d(widths[0], out_channels, 1))

    def forward(self, x: Tensor, pools: Sequence[Pool]) -> Tensor:
        """(B, widths[-1], h, w) to (B, out_channels, H, W)."""
        for stage, pool in zip(self.stages, reversed(pools), strict=True):
            x = stage(F.max_unpool2d(x, pool.places, [2, 2], output_size=pool.size))
        decoded: Tensor = self.output(x)
        return decoded


def xavier(network: nn.Module) -> None:
    """Published initialisation: Xavier-normal convolutions without bias."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_normal_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
