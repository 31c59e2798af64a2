# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Chamfer AP and raster IoU of vector maps as an mmengine metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet3d.registry import METRICS

from nexusflow.datasets.info_file import load_info
from nexusflow.datasets.subsets import select_samples
from nexusflow.geometry.vector_map import MAP_CLASSES

from ..functional.chamfer_ap import MapLines
from ..functional.map_evaluation import MapProtocol, evaluate_map
from ..functional.map_results import ground_truth_lines, write_map_results
from .arrays import map_arrays
from .token_metric import TokenMetric

__all__ = ['NexusMapMetric']


@METRICS.register_module()
class NexusMapMetric(TokenMetric):
    """Chamfer average precision, and IoU of the drawn lines, whole and per location.

    Reads ``pred_map`` (labels, scores, pts_m in the lidar frame) of the data samples. Gives
    ``map/mAP``, ``map/AP_<class>``, ``map/AP_<class>@<metres>``, with the options
    ``map/IoU_lanes`` (``_divider``, ``_crossing``, ``_contour``) and ``map/raster_mAP`` (...), and
    the same under ``map/<location>/``. NaN: no ground truth of that class there.

    Args:
        ann_file: Info file with the true maps, absolute or relative to ``data_root``.
        data_root: Folder of the data set.
        map_classes: Classes that the labels mean, as in ``NexusClipDataset``.
        subset: Judge only these samples of the info file; as in ``NexusClipDataset``.
        mode: ``'maptr'`` or ``'streammapnet'``; see ``functional/chamfer_ap.py``.
        raster_iou: Also measure UniAD's IoU of drawn lines; see ``functional/raster_iou.py``.
        raster_ap: Also measure rasterised AP; see ``functional/raster_ap.py``.
        min_score: Predictions below are not drawn for the raster IoU.
        workers: Processes that share the samples; the result is the same for any number.
        out_file: Where the predictions are written as JSON; nowhere by default.
        prefix: First part of the metric names.
        collect_device: ``'cpu'`` or ``'gpu'``: how processes exchange results.

    Raises:
        ValueError: Unknown mode or class; or, when ``dataset_meta`` is set, the data set has other ``map_classes``.
    """

    default_prefix = 'map'

    def __init__(
        self,
        ann_file: str,
        data_root: str = '',
        map_classes: Sequence[str] = MAP_CLASSES,
        subset: str | None = None,
        mode: str = 'maptr',
        raster_iou: bool = False,
        raster_ap: bool = False,
        min_score: float = 0.1,
        workers: int = 1,
        out_file: str | None = None,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.protocol = MapProtocol.of(mode, raster_iou, raster_ap, min_score)
        self.workers = workers
        self.ann_file = str(Path(data_root) / ann_file)
        self.out_file = out_file
        info = load_info(self.ann_file)
        samples = select_samples(info['data_list'], subset, self.ann_file)
        known = list(info['metainfo']['map_classes'])
        self.map_classes = list(map_classes)
        unknown = sorted(set(self.map_classes) - set(known))
        if unknown:
            raise ValueError(f'{self.ann_file}: no map class {unknown}; it has {known}')
        self._truth = ground_truth_lines(samples, self.map_classes, self.ann_file)
        self._locations = {s['token']: s['location'] for s in samples}

    @property
    def dataset_meta(self) -> Mapping[str, Any] | None:
        """Meta of the data set that is predicted; it is set before the first prediction."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: Mapping[str, Any]) -> None:
        predicted = list(meta.get('map_classes', self.map_classes))
        if predicted != self.map_classes:
            raise ValueError(
                f'NexusMapMetric: the data set labels {predicted}, the metric judges'
                f' {self.map_classes}; give both the same map_classes'
            )
        self._dataset_meta = meta

    def extract(self, sample: Mapping[str, Any]) -> MapLines:
        """The predicted lines of one sample."""
        return map_arrays(sample['pred_map'])

    def score(self, results: Mapping[str, MapLines]) -> dict[str, float]:
        """Scores of the data set and of each location."""
        if self.out_file is not None:
            write_map_results(self.out_file, results, self.map_classes)
        scores = evaluate_map(
            results, self._truth, self.map_classes, self.protocol, self._locations, self.workers
        )
        metrics = scores.pop('all').flat()
        for location, own in scores.items():
            metrics |= {f'{location}/{name}': value for name, value in own.flat().items()}
        return metrics
