# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Average relative gain of a multi-task model over a stated baseline (Maninis et al., arXiv 1904.08918).

Published tables differ in the baseline: MTPSL's is one model a task, JTR's is the supervised multi-task
model. State which one a number refers to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

__all__ = ['HIGHER_IS_BETTER', 'delta_percent']

HIGHER_IS_BETTER = (
    'mIoU',
    'pixel_accuracy',
    'within_11.25',
    'within_22.5',
    'within_30',
    'IoU',
    'F1',
)


def delta_percent(
    metrics: Mapping[str, float],
    baseline: Mapping[str, float],
    higher_is_better: Collection[str] = HIGHER_IS_BETTER,
) -> float:
    """Mean of the relative gains over the baseline's metrics, percent.

    Args:
        metrics: Metric name, ``<task>/<metric>``, to its value.
        baseline: The same for the baseline: one metric a task, as published ``segmentation/mIoU``,
            ``depth/abs_err`` and ``normal/mean_deg``.
        higher_is_better: Metrics of which more is better, without their task.

    Returns:
        The mean gain; positive is better.

    Raises:
        KeyError: The baseline names a metric that was not measured.
        ValueError: The baseline is empty, or one of its values is not above 0.

    Example:
        >>> stated = {'segmentation/mIoU': 0.2, 'depth/abs_err': 0.5}
        >>> round(delta_percent({'segmentation/mIoU': 0.3, 'depth/abs_err': 0.6}, stated), 6)
        15.0
    """
    if not baseline:
        raise ValueError('delta: the baseline is empty; give it one metric a task')
    gains = []
    for name, before in baseline.items():
        if name not in metrics:
            raise KeyError(
                f"delta: the baseline has '{name}', which was not measured; there are {sorted(metrics)}"
            )
        if not before > 0:
            raise ValueError(f"delta: the baseline's '{name}' is {before}, it must be above 0")
        gain = (metrics[name] - before) / before
        gains.append(gain if name.split('/')[-1] in higher_is_better else -gain)
    return 100.0 * sum(gains) / len(gains)
