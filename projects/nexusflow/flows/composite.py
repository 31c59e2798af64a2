# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Aggregators made of aggregators: several levels of a pyramid, or features of different structure.

A task may be told by more than one of its features, say by the levels of its pyramid or by its map
and its queries. Each has an aggregator of its own; their vectors are joined into one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

__all__ = ['Feature', 'LevelsAggregator', 'MixtureAggregator', 'aggregate']

Feature: TypeAlias = Tensor | Sequence['Feature'] | Mapping[str, 'Feature']
"""A task's feature: a tensor, a list (one entry a level), or the keyword arguments of its aggregator."""

JOINS = ('mean', 'concat')


def named_modules(modules: Mapping[str, nn.Module], field: str) -> nn.ModuleDict:
    """A ModuleDict.

    Raises:
        ValueError: If it cannot hold a module of such a name, as 'type', 'keys' or one with a dot.
    """
    for name in modules:
        if '.' in name or not name or hasattr(nn.ModuleDict(), name):
            raise ValueError(f"'{field}': a module cannot be called {name!r}; choose another name")
    return nn.ModuleDict(modules)


def aggregate(aggregator: nn.Module, feature: Feature) -> Tensor:
    """Apply an aggregator to a feature: a mapping holds its keyword arguments. Returns (B, D)."""
    if isinstance(feature, Mapping):
        embedding: Tensor = aggregator(**feature)
    else:
        embedding = aggregator(feature)
    return embedding


class Join(nn.Module):
    """K vectors of length D -> one, of zero mean and unit variance over its entries.

    Args:
        count: K.
        dim: D.
        join: 'mean', which learns nothing, or 'concat' with a linear layer behind it.

    Raises:
        ValueError: If ``join`` is neither, or there is nothing to join.
    """

    def __init__(self, count: int, dim: int, join: str) -> None:
        super().__init__()
        if join not in JOINS:
            raise ValueError(f"'join' must be one of {', '.join(JOINS)}, got {join!r}")
        if count < 1:
            raise ValueError('there must be at least one aggregator to join')
        self.linear = nn.Linear(count * dim, dim) if join == 'concat' else None
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)

    def forward(self, embeddings: Sequence[Tensor]) -> Tensor:
        """K tensors (B, D) -> (B, D)."""
        if self.linear is None:
            joined = torch.stack(tuple(embeddings)).mean(dim=0)
        else:
            joined = self.linear(torch.cat(tuple(embeddings), dim=-1))
        embedding: Tensor = self.norm(joined)
        return embedding


class LevelsAggregator(nn.Module):
    """A list of features, such as the levels of a pyramid -> a vector.

    Args:
        levels: An aggregator for each level, all of the same ``dim``.
        dim: Length D of the embedding.
        join: How the levels' vectors become one: 'mean' or 'concat'.
    """

    def __init__(self, levels: Sequence[nn.Module], dim: int, join: str = 'concat') -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)
        self.join = Join(len(levels), dim, join)

    def forward(self, features: Sequence[Feature]) -> Tensor:
        """Join the levels.

        Args:
            features: One for each level, in the order of the aggregators.

        Returns:
            (B, D).

        Raises:
            ValueError: If the number of features is not the number of levels.
        """
        if len(features) != len(self.levels):
            raise ValueError(
                f"'levels' has {len(self.levels)} aggregators, got {len(features)} levels"
            )
        parts = zip(self.levels, features, strict=True)
        embedding: Tensor = self.join([aggregate(level, feature) for level, feature in parts])
        return embedding


class MixtureAggregator(nn.Module):
    """Features of any structure, each by its name -> a vector.

    Args:
        parts: Name of a feature to its aggregator, all of the same ``dim``.
        dim: Length D of the embedding.
        join: How the parts' vectors become one: 'mean' or 'concat'.

    Raises:
        ValueError: If a name cannot be a module's.
    """

    def __init__(self, parts: Mapping[str, nn.Module], dim: int, join: str = 'concat') -> None:
        super().__init__()
        self.parts = named_modules(parts, 'parts')
        self.join = Join(len(parts), dim, join)

    def forward(self, **features: Feature) -> Tensor:
        """Join the parts.

        Args:
            **features: A feature for each part.

        Returns:
            (B, D).

        Raises:
            KeyError: If features and parts differ in their names.
        """
        if features.keys() != self.parts.keys():
            raise KeyError(
                f"'parts' are {sorted(self.parts)}, features were given for {sorted(features)}"
            )
        embedding: Tensor = self.join(
            [aggregate(part, features[name]) for name, part in self.parts.items()]
        )
        return embedding
