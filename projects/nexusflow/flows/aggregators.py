# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""From a task's feature, whatever its structure, to a vector of fixed length: g_i of the paper.

All of them end in a normalisation without parameters, so that the weight of the alignment means the
same for every task and no aggregator can make tasks agree by shrinking its vectors. The flow behind it
still can (six couplings with a bound of 0.5: to exp(-1.5) of their size), and aggregators can say the same
of every sample: :class:`nexusflow.flows.guard.CollapseGuard` on 'z' holds against both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .composite import LevelsAggregator, MixtureAggregator

__all__ = [
    'AGGREGATORS',
    'BEVAggregator',
    'QueryAggregator',
    'VectorAggregator',
    'build_aggregator',
    'mlp',
]


def mlp(in_dim: int, hidden: int, out_dim: int) -> nn.Sequential:
    """Two linear layers, and a normalisation of the result: (..., in_dim) -> (..., out_dim)."""
    return nn.Sequential(
        nn.Linear(in_dim, hidden),
        nn.ReLU(),
        nn.Linear(hidden, out_dim),
        nn.LayerNorm(out_dim, elementwise_affine=False),
    )


def require_axes(feature: Tensor, axes: str) -> None:
    """Refuse a feature of another number of axes.

    Raises:
        ValueError: Naming the axes that are wanted and what was got.
    """
    if feature.ndim != len(axes.split(', ')):
        raise ValueError(f'the aggregator reads features ({axes}), got {tuple(feature.shape)}')


class VectorAggregator(nn.Module):
    """A vector -> a vector, by a small network.

    Args:
        in_channels: Length C of the feature.
        dim: Length D of the embedding.
    """

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__()
        self.project = mlp(in_channels, dim, dim)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, C) -> (B, D).

        Raises:
            ValueError: If the feature has other axes.
        """
        require_axes(feature, 'B, C')
        embedding: Tensor = self.project(feature)
        return embedding


class QueryAggregator(nn.Module):
    """A set of queries -> a vector, by attention pooling.

    Each head weighs the queries by a learned score; the heads' means are joined by a small network.
    The result does not depend on the order of the set.

    Args:
        in_channels: Length C of a query.
        dim: Length D of the embedding.
        num_heads: Number of pooling heads, at least 1.

    Raises:
        ValueError: If ``num_heads`` is less.
    """

    def __init__(self, in_channels: int, dim: int, num_heads: int = 4) -> None:
        super().__init__()
        if num_heads < 1:
            raise ValueError(f"'num_heads' must be at least 1, got {num_heads}")
        self.norm = nn.LayerNorm(in_channels)
        self.score = nn.Linear(in_channels, num_heads)
        self.project = mlp(num_heads * in_channels, dim, dim)

    def forward(self, feature: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Pool a set.

        Args:
            feature: Queries (B, N, C).
            padding_mask: (B, N), true where a query is padding; no query is padding if not given.

        Returns:
            (B, D). A sample without any query gets the embedding of the empty set, which is
            learned.

        Raises:
            ValueError: If the feature has other axes.
        """
        require_axes(feature, 'B, N, C')
        if padding_mask is not None:
            # padding may hold anything, also NaN, which a weight of 0 would not silence
            hidden = padding_mask[..., None]
            feature = feature.masked_fill(hidden, 0.0)
        feature = self.norm(feature)
        score = self.score(feature)
        if padding_mask is None:
            weight = score.softmax(dim=1)
        else:
            score = score.masked_fill(hidden, torch.finfo(score.dtype).min)
            weight = score.softmax(dim=1).masked_fill(hidden, 0.0)
        pooled = torch.einsum('bnh,bnc->bhc', weight, feature)
        embedding: Tensor = self.project(pooled.flatten(1))
        return embedding


class BEVAggregator(nn.Module):
    """A bird's-eye-view map -> a vector, by deformable attention.

    The idea is Zhu et al.'s (2021, https://arxiv.org/abs/2010.04159), reimplemented. A few learned
    queries look at the map's mean, choose sampling points around their own place on a regular grid,
    and average what they find there. The map is read at these points only and projected
    afterwards: of its size only the mean depends.

    Args:
        in_channels: Channels C of the map.
        dim: Length D of the embedding.
        grid: Queries per axis; there are ``grid ** 2``.
        num_points: Sampling points of each query.
        width: Length W of a query; a quarter of D if not given, since all queries together are what
            the embedding is made of, and D of each would be most of the method's memory.
    """

    def __init__(
        self,
        in_channels: int,
        dim: int,
        grid: int = 4,
        num_points: int = 4,
        width: int | None = None,
    ) -> None:
        super().__init__()
        self.grid, self.num_points = grid, num_points
        num_queries, width = grid**2, width or max(dim // 4, 1)
        self.queries = nn.Parameter(torch.randn(num_queries, width) / math.sqrt(width))
        self.context = nn.Linear(in_channels, width)
        self.offset = nn.Linear(width, num_points * 2)
        self.weight = nn.Linear(width, num_points)
        self.value = nn.Linear(in_channels, width)
        self.project = mlp(num_queries * width, dim, dim)
        centers = (torch.arange(grid) + 0.5) * (2.0 / grid) - 1.0
        places = torch.stack(torch.meshgrid(centers, centers, indexing='xy'), dim=-1)
        self.places: Tensor
        self.register_buffer('places', places.reshape(num_queries, 1, 2), persistent=False)
        self._spread_points()

    def _spread_points(self) -> None:
        """Start with the points half a cell around each place, so that they cover the map."""
        angle = torch.arange(self.num_points) * (2.0 * math.pi / self.num_points) + 0.25 * math.pi
        circle = torch.stack((angle.cos(), angle.sin()), dim=-1)
        nn.init.normal_(self.offset.weight, std=0.01)
        with torch.no_grad():
            self.offset.bias.copy_(torch.atanh(0.5 * circle).flatten())

    def sampling_points(self, query: Tensor) -> Tensor:
        """Points (B, Q, P, 2) as x, y in [-1, 1] over the map, for queries (B, Q, W).

        They lie at most one cell of the grid away from their query's place.
        """
        batch, num_queries, _ = query.shape
        offset: Tensor = self.offset(query)
        shift = torch.tanh(offset).view(batch, num_queries, self.num_points, 2)
        return (self.places + shift * (2.0 / self.grid)).clamp(-1.0, 1.0)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D).

        Raises:
            ValueError: If the feature has other axes.
        """
        require_axes(feature, 'B, C, H, W')
        query = self.queries + self.context(feature.mean(dim=(2, 3)))[:, None]
        points = self.sampling_points(query).to(feature.dtype)
        sampled = F.grid_sample(feature, points, align_corners=False, padding_mode='border')
        weight = self.weight(query).softmax(dim=-1)
        pooled = torch.einsum('bcqp,bqp->bqc', sampled, weight.to(sampled.dtype))
        embedding: Tensor = self.project((query + self.value(pooled)).flatten(1))
        return embedding


AGGREGATORS: dict[str, Callable[..., nn.Module]] = {
    'bev': BEVAggregator,
    'queries': QueryAggregator,
    'vector': VectorAggregator,
    'levels': LevelsAggregator,
    'mixture': MixtureAggregator,
}
"""Name in a configuration -> class."""


def build_aggregator(
    cfg: Mapping[str, Any], dim: int, channels: int | None = None, where: str = 'aggregator'
) -> nn.Module:
    """An aggregator from a plain dictionary, as it stands in a configuration.

    Apply it by :func:`nexusflow.flows.composite.aggregate`.

    Args:
        cfg: ``type``, a key of ``AGGREGATORS``, and its arguments. 'levels' has a list ``levels``, 'mixture' a
            dictionary ``parts`` of such dictionaries, nested as one likes.
        dim: Length D of the embedding.
        channels: ``in_channels`` of those that do not give their own.
        where: What errors call it.

    Raises:
        ValueError: If a type is missing or unknown.
        TypeError: If an argument is missing or unknown.

    Example:
        >>> both = dict(
        ...     type='mixture',
        ...     parts=dict(bev=dict(type='bev'), queries=dict(type='queries', in_channels=4)),
        ... )
        >>> aggregator = build_aggregator(both, dim=16, channels=8)
        >>> aggregator(bev=torch.rand(2, 8, 9, 9), queries=torch.rand(2, 5, 4)).shape
        torch.Size([2, 16])
    """
    args = dict(cfg)
    kind = args.pop('type', None)
    if kind not in AGGREGATORS:
        raise ValueError(f'{where}: unknown aggregator {kind!r}; choose from {sorted(AGGREGATORS)}')
    if kind == 'levels':
        args['levels'] = [
            build_aggregator(level, dim, channels, f'{where}.levels[{i}]')
            for i, level in enumerate(args.get('levels', ()))
        ]
    elif kind == 'mixture':
        args['parts'] = {
            name: build_aggregator(part, dim, channels, f'{where}.parts.{name}')
            for name, part in args.get('parts', {}).items()
        }
    elif channels is not None:
        args.setdefault('in_channels', channels)
    try:
        return AGGREGATORS[kind](dim=dim, **args)
    except (TypeError, ValueError) as error:
        raise type(error)(f'{where}: {error}') from error
