# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A metric whose results are keyed by sample token."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric

__all__ = ['TokenMetric']


class TokenMetric(BaseMetric):
    """Base of metrics that align predictions by token.

    mmengine collects lists, interleaves those of the processes and cuts the sum to the length of
    the data set; with whole scenes per process the lists differ in length and padding may push
    real samples out. Here every process hands over one mapping from token to result, so the number
    of processes, the order and padded duplicates make no difference.
    """

    def process(self, data_batch: Any, data_samples: list[dict[str, Any]]) -> None:
        """Keep what the metric needs of each sample.

        Args:
            data_batch: Not used.
            data_samples: Data samples as nested dictionaries, meta fields included.
        """
        del data_batch
        if not self.results:
            self.results.append({})
        for sample in data_samples:
            self.results[0][sample['token']] = self.extract(sample)

    def evaluate(self, size: int) -> dict[str, float]:
        """Collect over the processes and score; ``size`` is not needed."""
        del size
        if not self.results:
            self.results.append({})
        return super().evaluate(get_world_size())

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Merge the mappings of the processes and score them."""
        merged: dict[str, Any] = {}
        for part in results:
            merged.update(part)
        return self.score(merged)

    @abstractmethod
    def extract(self, sample: Mapping[str, Any]) -> Any:
        """Numpy result of one sample, small and picklable."""

    @abstractmethod
    def score(self, results: Mapping[str, Any]) -> dict[str, float]:
        """Metrics of the data set from token -> result."""
