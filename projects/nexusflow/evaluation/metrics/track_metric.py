# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The nuScenes tracking evaluation as an mmengine metric."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmdet3d.registry import METRICS
from mmengine.logging import print_log

from ..functional.eval_sets import check_eval_set
from ..functional.fast_tracking import evaluate_fast
from ..functional.greedy_baseline import TimedBoxes, greedy_tracks
from ..functional.official_tracking import evaluate_official, require_devkit
from ..functional.submission import SampleTracks, to_submission, write_submission
from ..functional.tracking_result import TrackingResult
from .arrays import box_arrays, to_numpy
from .token_metric import TokenMetric

__all__ = ['NexusTrackMetric']

SUBMISSION_FILE = 'tracking_submission.json'


@dataclass(frozen=True)
class _Tracked:
    """What is kept of a sample: tracks, detections for the greedy baseline, their best score."""

    tracks: SampleTracks
    detections: TimedBoxes | None
    best_score: float


@METRICS.register_module()
class NexusTrackMetric(TokenMetric):
    """AMOTA and its relatives, whole and per city.

    Reads ``pred_instances_3d`` (bboxes_3d, labels_3d, scores_3d, track_ids) and the meta fields
    ``lidar2global`` and ``scene_name`` of the data samples. Gives ``track/AMOTA``,
    ``track/AMOTA_<class>``, ``track/IDS`` ..., and the same under ``track/<city>/``. The official
    code and the fast evaluator give the same numbers to 1e-6; the official one takes minutes.

    Args:
        data_root: Root folder of the nuScenes-format data set.
        version: Folder of its tables, e.g. ``'v1.0-trainval'``.
        eval_set: Predefined split or key of ``splits.json``; the data set that is predicted.
        track_classes: Class names that the labels mean; by default ``track_classes`` of the data
            set's meta.
        city_eval_sets: City name to the eval set with its scenes.
        official: Whether the unmodified devkit judges the model's tracks: at the end, for numbers
            that are reported.
        greedy: Whether tracks linked greedily from the same detections (``pred_detections_3d``:
            bboxes_3d, labels_3d, scores_3d; else the boxes of the tracks) are judged too, by the fast
            evaluator: ``track_greedy/AMOTA`` ... Needs the meta field ``time_s``.
        greedy_min_score: Detections of a lower score are not linked.
        out_dir: Where ``tracking_submission.json`` and the summaries are written; nowhere by
            default.
        format_only: Whether only the submission is written, for a split whose labels are not public.
        workers: Processes of the official evaluation; each judges whole eval sets.
        prefix: First part of the metric names.
        collect_device: ``'cpu'`` or ``'gpu'``: how processes exchange results.

    Raises:
        ImportError: ``official``, and devkit or motmetrics missing.
        ValueError: An eval set does not exist; ``format_only`` without ``out_dir``.
    """

    default_prefix = 'track'

    def __init__(
        self,
        data_root: str,
        version: str,
        eval_set: str,
        track_classes: Sequence[str] | None = None,
        city_eval_sets: Mapping[str, str] | None = None,
        official: bool = False,
        greedy: bool = False,
        greedy_min_score: float = 0.0,
        out_dir: str | None = None,
        format_only: bool = False,
        workers: int = 1,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        # The names get their first part here, so that there can be two of them.
        self.name, self.prefix = self.prefix, None
        self.data_root, self.version = data_root, version
        self.eval_sets = {'': eval_set, **(city_eval_sets or {})}
        self.track_classes = track_classes
        self.official, self.workers = official, workers
        self.greedy, self.greedy_min_score = greedy, greedy_min_score
        self.out_dir = None if out_dir is None else Path(out_dir)
        self.format_only = format_only
        if format_only and out_dir is None:
            raise ValueError('NexusTrackMetric: format_only writes the submission; set out_dir')
        if official:
            require_devkit()
        for name in self.eval_sets.values():
            check_eval_set(data_root, version, name)

    def extract(self, sample: Mapping[str, Any]) -> _Tracked:
        """The tracked boxes of one sample, and its detections when they are needed."""
        tracks = self._boxes(sample, sample['pred_instances_3d'])
        found = sample.get('pred_detections_3d')
        boxes = tracks if found is None else self._boxes(sample, found)
        timed = TimedBoxes(boxes, float(sample['time_s'])) if self.greedy else None
        return _Tracked(tracks, timed, float(np.max(boxes.scores, initial=0.0)))

    def score(self, results: Mapping[str, _Tracked]) -> dict[str, float]:
        """Scores over the eval set and over each city."""
        submission = to_submission({token: kept.tracks for token, kept in results.items()})
        if self.out_dir is not None:
            write_submission(self.out_dir / SUBMISSION_FILE, submission)
        if self.format_only:
            return {}
        if not any(submission['results'].values()):
            best = max((kept.best_score for kept in results.values()), default=0.0)
            print_log(
                f'{self.name}: no track in {len(results)} samples; the best detection scores'
                f' {best:.3f}. If that is below the score at which tracks are born, train longer or'
                ' lower that score',
                logger='current',
                level=logging.WARNING,
            )
        where = (self.data_root, self.version, list(self.eval_sets.values()), self.out_dir)
        if self.official:
            print_log(f'official tracking evaluation: {", ".join(where[2])}', logger='current')
            judged = evaluate_official(submission, *where, self.workers)
        else:
            judged = evaluate_fast(submission, *where)
        metrics = self._named(self.name, judged)
        if self.greedy:
            found = {token: kept.detections for token, kept in results.items()}
            linked = greedy_tracks(found, min_score=self.greedy_min_score)
            judged = evaluate_fast(to_submission(linked), *where[:3])
            metrics |= self._named(f'{self.name}_greedy', judged)
        return metrics

    def _boxes(self, sample: Mapping[str, Any], found: Mapping[str, Any]) -> SampleTracks:
        """Boxes of an instance container; those without track ids get the number of the row."""
        arrays = box_arrays(found['bboxes_3d'])
        classes = self._classes()
        scores = to_numpy(found['scores_3d'])
        ids = to_numpy(found['track_ids']) if 'track_ids' in found else np.arange(len(scores))
        return SampleTracks(
            scene=sample['scene_name'],
            boxes=arrays.boxes,
            velocity=arrays.velocity,
            names=[classes[label] for label in to_numpy(found['labels_3d']).tolist()],
            scores=scores,
            track_ids=ids.tolist(),
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

    def _named(self, name: str, judged: Mapping[str, TrackingResult]) -> dict[str, float]:
        """Metrics under their names; why a score is 0 is logged."""
        metrics: dict[str, float] = {}
        for city, eval_set in self.eval_sets.items():
            result = judged[eval_set]
            if result.reason is not None:
                message = f'{name}: AMOTA is 0. {result.reason}'
                print_log(message, logger='current', level=logging.WARNING)
            place = f'{name}/{city}' if city else name
            metrics |= {f'{place}/{key}': value for key, value in result.metrics.items()}
        return metrics
