# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The official nuScenes tracking evaluation as an mmengine metric."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet3d.registry import METRICS
from mmengine.logging import print_log

from ..functional.official_tracking import check_eval_set, evaluate_eval_sets
from ..functional.submission import SampleTracks, to_submission, write_submission
from .arrays import box_arrays, to_numpy
from .token_metric import TokenMetric

__all__ = ['NexusTrackMetric']

SUBMISSION_FILE = 'tracking_submission.json'


@METRICS.register_module()
class NexusTrackMetric(TokenMetric):
    """AMOTA and its relatives from the unmodified devkit, whole and per city.

    Reads ``pred_instances_3d`` (bboxes_3d, labels_3d, scores_3d, track_ids) and the meta fields
    ``lidar2global`` and ``scene_name`` of the data samples. Gives ``track/AMOTA``,
    ``track/AMOTA_<class>``, ``track/IDS`` ..., and the same under ``track/<city>/``.

    Args:
        data_root: Root folder of the nuScenes-format data set.
        version: Folder of its tables, e.g. ``'v1.0-trainval'``.
        eval_set: Predefined split or key of ``splits.json``; the data set that is predicted.
        track_classes: Class names that the labels mean; by default ``track_classes`` of the data
            set's meta.
        city_eval_sets: City name to the eval set with its scenes.
        out_dir: Where ``tracking_submission.json`` and the devkit's summaries are written; nowhere
            by default.
        workers: Processes that judge eval sets side by side; the whole set takes as long as the cities.
        prefix: First part of the metric names.
        collect_device: ``'cpu'`` or ``'gpu'``: how processes exchange results.

    Raises:
        ImportError: devkit or motmetrics missing.
        ValueError: An eval set does not exist.
    """

    default_prefix = 'track'

    def __init__(
        self,
        data_root: str,
        version: str,
        eval_set: str,
        track_classes: Sequence[str] | None = None,
        city_eval_sets: Mapping[str, str] | None = None,
        out_dir: str | None = None,
        workers: int = 1,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.data_root, self.version = data_root, version
        self.eval_sets = {'': eval_set, **(city_eval_sets or {})}
        self.track_classes = track_classes
        self.workers = workers
        self.out_dir = None if out_dir is None else Path(out_dir)
        for name in self.eval_sets.values():
            check_eval_set(data_root, version, name)

    def extract(self, sample: Mapping[str, Any]) -> SampleTracks:
        """The tracked boxes of one sample."""
        found = sample['pred_instances_3d']
        arrays = box_arrays(found['bboxes_3d'])
        classes = self._classes()
        return SampleTracks(
            scene=sample['scene_name'],
            boxes=arrays.boxes,
            velocity=arrays.velocity,
            names=[classes[label] for label in to_numpy(found['labels_3d']).tolist()],
            scores=to_numpy(found['scores_3d']),
            track_ids=to_numpy(found['track_ids']).tolist(),
            lidar2global=to_numpy(sample['lidar2global']),
        )

    def _classes(self) -> Sequence[str]:
        """Names that the predicted labels mean."""
        classes = self.track_classes or (self.dataset_meta or {}).get('track_classes')
        if not classes:
            raise ValueError(
                'NexusTrackMetric: the class names are unknown; set track_classes in the metric, or'
                " let the data set's metainfo hold 'track_classes'"
            )
        return classes

    def score(self, results: Mapping[str, SampleTracks]) -> dict[str, float]:
        """Official scores over the eval set and over each city."""
        submission = to_submission(results)
        if self.out_dir is not None:
            write_submission(self.out_dir / SUBMISSION_FILE, submission)
        names = list(self.eval_sets.values())
        print_log(f'official tracking evaluation: {", ".join(names)}', logger='current')
        results_of = evaluate_eval_sets(
            submission, self.data_root, self.version, names, self.out_dir, self.workers
        )
        metrics: dict[str, float] = {}
        for city, eval_set in self.eval_sets.items():
            result = results_of[eval_set]
            if result.reason is not None:
                print_log(f'AMOTA is 0. {result.reason}', logger='current', level=logging.WARNING)
            metrics |= {f'{city}/{k}' if city else k: v for k, v in result.metrics.items()}
        return metrics
