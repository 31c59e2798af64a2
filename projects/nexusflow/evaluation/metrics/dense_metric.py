# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Scores of N dense tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from mmdet3d.registry import METRICS

from ..functional.dense_delta import delta_percent
from ..functional.dense_depth import depth_scores, depth_sums
from ..functional.dense_masks import mask_counts, mask_scores
from ..functional.dense_normals import angles_deg, normal_scores
from ..functional.dense_segmentation import confusion, segmentation_scores
from .arrays import to_numpy
from .token_metric import TokenMetric

__all__ = ['NYUV2_TASKS', 'NexusDenseMetric']

NYUV2_TASKS = dict(
    segmentation=dict(kind='classes', field='sem_seg', num_classes=13),
    depth=dict(kind='depth', field='depth'),
    normal=dict(kind='normals', field='normal'),
)


class _Judge(NamedTuple):
    """How a kind of task is scored: what is kept of an image, and the scores of all that was kept."""

    keep: Callable[..., np.ndarray]
    score: Callable[[Sequence[np.ndarray]], dict[str, float]]


_JUDGES = {
    'classes': _Judge(confusion, segmentation_scores),
    'depth': _Judge(depth_sums, depth_scores),
    'normals': _Judge(angles_deg, normal_scores),
    'masks': _Judge(mask_counts, mask_scores),
}


@METRICS.register_module()
class NexusDenseMetric(TokenMetric):
    """mIoU, depth errors, normal angles ..., all of them global over pixels.

    Neither the batch size nor the number of processes changes a number. Gives ``segmentation/mIoU``,
    ``segmentation/pixel_accuracy``; ``depth/abs_err``, ``depth/rel_err``, ``depth/rmse`` (metres);
    ``normal/mean_deg``, ``normal/median_deg``, ``normal/rmse_deg``, ``normal/within_11.25``, ``_22.5``,
    ``_30``; of tasks of kind 'masks' ``IoU`` and ``F1``. Shares are in [0, 1].

    Args:
        tasks: Further tasks, and changes of NYUv2's three: task to its ``kind`` (classes, depth, normals,
            masks), the ``field`` of the samples (``gt_<field>``, ``pred_<field>``), and ``num_classes``
            or ``threshold``. A task set to None is left out.
        baseline: Metrics of the baseline; with it ``delta_percent`` is given, see
            :func:`nexusflow.evaluation.functional.dense_delta.delta_percent`.
        collect_device: ``'cpu'`` or ``'gpu'``: how processes exchange results.

    Raises:
        ValueError: A task has an unknown kind.
    """

    default_prefix = 'dense'

    def __init__(
        self,
        tasks: Mapping[str, Mapping[str, Any] | None] | None = None,
        baseline: Mapping[str, float] | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(collect_device=collect_device)
        # the names get their first part, the task's, here
        self.prefix = None
        chosen = {**NYUV2_TASKS, **(tasks or {})}
        self.tasks = {task: dict(spec) for task, spec in chosen.items() if spec is not None}
        self.baseline = dict(baseline or {})
        for task, spec in self.tasks.items():
            if spec.get('kind') not in _JUDGES:
                raise ValueError(
                    f"NexusDenseMetric: task '{task}' has kind {spec.get('kind')!r}; choose from"
                    f' {sorted(_JUDGES)}'
                )

    def extract(self, sample: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Counts, sums or angles of one image, by task."""
        kept = {}
        for task, spec in self.tasks.items():
            options = dict(spec)
            judge, field = _JUDGES[options.pop('kind')], options.pop('field')
            found, true = (self._pixels(sample, f'{k}_{field}', task) for k in ('pred', 'gt'))
            kept[task] = judge.keep(found, true, **options)
        return kept

    @staticmethod
    def _pixels(sample: Mapping[str, Any], field: str, task: str) -> np.ndarray:
        """Pixels (C, H, W) of a field."""
        if field not in sample:
            raise KeyError(
                f"NexusDenseMetric: sample '{sample['token']}' has no '{field}', which task '{task}'"
                " is judged by; correct the metric's tasks, or give the model a head for it"
            )
        return to_numpy(sample[field]['data'])

    def score(self, results: Mapping[str, dict[str, np.ndarray]]) -> dict[str, float]:
        """Scores over all pixels of all images."""
        metrics = {}
        for task, spec in self.tasks.items():
            scores = _JUDGES[spec['kind']].score([kept[task] for kept in results.values()])
            metrics |= {f'{task}/{name}': value for name, value in scores.items()}
        if self.baseline:
            metrics['delta_percent'] = delta_percent(metrics, self.baseline)
        return metrics
