# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Scale-crop: cut a window out of an image and its dense labels and enlarge it to the old size.

The augmentation of MTAN's, MTPSL's and JTR's NYUv2 recipes (RandomScaleCrop): a window of
``int(H / s) x int(W / s)`` at a random place, for s in {1, 1.2, 1.5}. What is s times larger seems s
times nearer, so depth is divided by s. As published, images and normals are interpolated with the
corner pixels on each other, labels and depth take the nearest pixel. Unlike there, interpolated
normals get back their unit length. All of it works on a batch, with a window a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ['NORMAL_EPS', 'SCALES', 'ScaleCrops', 'crop_image', 'crop_target', 'draw_crops']

SCALES = (1.0, 1.2, 1.5)
NORMAL_EPS = 1e-6


@dataclass(frozen=True)
class ScaleCrops:
    """A window for each of B samples.

    Attributes:
        scale: (B,) s, in double precision: in single, 288 / 1.2 is below 240.
        size: (B, 2) long, height and width of the windows, pixels.
        start: (B, 2) long, first row and column of the windows.
    """

    scale: Tensor
    size: Tensor
    start: Tensor


def draw_crops(
    batch: int,
    size_hw: tuple[int, int],
    scales: Sequence[float] = SCALES,
    device: torch.device | str | None = None,
) -> ScaleCrops:
    """Draw windows from torch's global generator.

    Args:
        batch: Samples B.
        size_hw: Height and width of the images.
        scales: Values of s, all at least 1; each is as likely as the others.
        device: Where the windows are needed.

    Raises:
        ValueError: A scale is below 1.
    """
    if min(scales) < 1:
        raise ValueError(f'scale-crop: scales are {tuple(scales)}, all of them must be at least 1')
    full = torch.tensor(size_hw)
    scale = torch.tensor(scales, dtype=torch.float64)[torch.randint(len(scales), (batch,))]
    size = (full / scale[:, None]).long()
    start = (torch.rand(batch, 2) * (full - size + 1)).long().minimum(full - size)
    return ScaleCrops(scale.to(device), size.to(device), start.to(device))


def crop_image(image: Tensor, crops: ScaleCrops) -> Tensor:
    """Enlarge the windows by bilinear interpolation, corner pixels on corner pixels.

    Args:
        image: (B, C, H, W) float.
        crops: The windows.

    Returns:
        (B, C, H, W); a window of the whole image gives the image itself, bit for bit.
    """
    for axis in (0, 1):
        image = _interpolate(image, axis + 2, crops.size[:, axis], crops.start[:, axis])
    return image


def crop_target(kind: str, target: Tensor, crops: ScaleCrops) -> Tensor:
    """Enlarge the windows of a task's labels.

    Args:
        kind: One of :data:`nexusflow.supervision.view.KINDS`.
        target: (B, C, H, W): class indices, masks, metres, or unit vectors (0 where invalid).
        crops: The windows.

    Returns:
        (B, C, H, W): nearest pixels, metres divided by s, unit vectors interpolated and normalised.
    """
    if kind == 'normals':
        return F.normalize(crop_image(target, crops), dim=1, eps=NORMAL_EPS)
    for axis in (0, 1):
        target = _nearest(target, axis + 2, crops.size[:, axis], crops.start[:, axis])
    return target / crops.scale[:, None, None, None].to(target.dtype) if kind == 'depth' else target


def _pick(tensor: Tensor, dim: int, index: Tensor) -> Tensor:
    """Rows (dim 2) or columns (dim 3) ``index`` (B, N) of each sample of (B, C, H, W)."""
    shape = list(tensor.shape)
    view = [len(index), 1, 1, 1]
    shape[dim] = view[dim] = index.shape[1]
    return tensor.gather(dim, index.view(view).expand(shape))


def _nearest(tensor: Tensor, dim: int, size: Tensor, start: Tensor) -> Tensor:
    """Windows of ``size`` pixels from ``start`` on, enlarged along one axis; nearest pixels."""
    length = tensor.shape[dim]
    steps = torch.arange(length, device=tensor.device)
    return _pick(tensor, dim, start[:, None] + steps * size[:, None] // length)


def _interpolate(tensor: Tensor, dim: int, size: Tensor, start: Tensor) -> Tensor:
    """Windows of ``size`` pixels from ``start`` on, enlarged along one axis; linear."""
    length = tensor.shape[dim]
    steps = torch.arange(length, device=tensor.device)
    product, last = steps * (size[:, None] - 1), max(length - 1, 1)
    low = product // last
    share = (product % last).to(tensor.dtype) / last
    view = [len(size), 1, 1, 1]
    view[dim] = length
    high = _pick(tensor, dim, start[:, None] + (low + 1).minimum(size[:, None] - 1))
    return torch.lerp(_pick(tensor, dim, start[:, None] + low), high, share.view(view))
