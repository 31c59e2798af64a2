# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The score of the vector maps of a data set, whole and per location.

Every sample is judged on its own, so that samples may be shared out over processes: the results
are the same for any number of them and for any order of the samples. Nothing is kept on disk.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .average_precision import ApTable, SampleMatches, score_matches
from .chamfer_ap import MODES, ChamferMode, MapLines, match_sample
from .map_results import check_lines
from .raster_ap import RECALL_POINTS, RasterAp, match_drawings
from .raster_iou import RasterIou, iou_counts, pool_iou

__all__ = ['MapProtocol', 'MapScores', 'evaluate_map']

_SAMPLES_PER_JOB = 64


@dataclass(frozen=True)
class MapProtocol:
    """What is measured.

    Attributes:
        chamfer: How lines are compared.
        raster_iou: Also the IoU of drawn lines; not if None.
        raster_ap: Also the average precision of drawn elements; not if None.
    """

    chamfer: ChamferMode = MODES['maptr']
    raster_iou: RasterIou | None = None
    raster_ap: RasterAp | None = None

    @classmethod
    def of(
        cls, mode: str, raster: bool = False, raster_ap: bool = False, min_score: float = 0.1
    ) -> MapProtocol:
        """A protocol by names.

        Args:
            mode: A key of ``MODES``.
            raster: Whether to measure raster IoU.
            raster_ap: Whether to measure rasterised AP.
            min_score: Predictions below are not drawn for the raster IoU.

        Raises:
            ValueError: Unknown mode.
        """
        if mode not in MODES:
            raise ValueError(f'unknown map evaluation mode {mode!r}; known: {sorted(MODES)}')
        iou = RasterIou(min_score=min_score) if raster else None
        return cls(MODES[mode], iou, RasterAp() if raster_ap else None)


@dataclass(frozen=True)
class MapScores:
    """Scores of a set of samples.

    Attributes:
        chamfer: Average precision by Chamfer distance.
        raster_iou: ``IoU_<name>``; empty if not measured.
        raster_ap: Average precision of drawings; None if not measured.
    """

    chamfer: ApTable
    raster_iou: dict[str, float]
    raster_ap: ApTable | None

    def flat(self) -> dict[str, float]:
        """``mAP``, ``AP_<class>``, ``AP_<class>@<metres>``, ``IoU_<name>``, ``raster_...``."""
        drawn = {} if self.raster_ap is None else self.raster_ap.flat('raster_')
        return self.chamfer.flat() | self.raster_iou | drawn


class _Judged(NamedTuple):
    """What one sample adds to the scores."""

    chamfer: SampleMatches
    raster_iou: NDArray[np.int64] | None
    raster_ap: SampleMatches | None


def evaluate_map(
    predictions: Mapping[str, MapLines],
    ground_truth: Mapping[str, MapLines],
    classes: Sequence[str],
    protocol: MapProtocol | None = None,
    locations: Mapping[str, str] | None = None,
    workers: int = 1,
) -> dict[str, MapScores]:
    """Score a data set, whole and per location.

    Args:
        predictions: Token to predicted lines, lidar frame; tokens without ground truth are an
            error.
        ground_truth: Token to true lines, lidar frame.
        classes: Class names.
        protocol: What is measured; Chamfer AP in MapTR's mode by default.
        locations: Token to location; without it only the whole is scored.
        workers: Processes; above 1 they are forked where the system can.

    Returns:
        ``'all'`` and each location to its scores.

    Raises:
        ValueError: Samples are missing or unknown, a prediction is not finite or of an unknown
            class.
    """
    protocol = protocol or MapProtocol()
    for wrong, text in (
        (
            set(ground_truth) - set(predictions),
            'without a prediction (an empty one must be given too)',
        ),
        (set(predictions) - set(ground_truth), 'predicted, but not in the ground truth'),
    ):
        if wrong:
            raise ValueError(f'{len(wrong)} samples {text}, e.g. {min(wrong)}')
    for token, lines in predictions.items():
        check_lines(lines, len(classes), f'prediction of sample {token}')
    jobs = _jobs(predictions, ground_truth, classes, protocol)
    judged = {token: one for part in _run(jobs, workers) for token, one in part.items()}
    out = {'all': _pool(judged, sorted(judged), classes, protocol)}
    places = locations or {}
    for location in sorted({places[token] for token in judged} if places else ()):
        tokens = [token for token in sorted(judged) if places[token] == location]
        out[location] = _pool(judged, tokens, classes, protocol)
    return out


def _jobs(
    predictions: Mapping[str, MapLines],
    ground_truth: Mapping[str, MapLines],
    classes: Sequence[str],
    protocol: MapProtocol,
) -> Iterator[tuple[Any, ...]]:
    """Samples in portions."""
    tokens = sorted(ground_truth)
    for begin in range(0, len(tokens), _SAMPLES_PER_JOB):
        part = tokens[begin : begin + _SAMPLES_PER_JOB]
        lines = {token: (predictions[token], ground_truth[token]) for token in part}
        yield lines, tuple(classes), protocol


def _run(jobs: Iterator[tuple[Any, ...]], workers: int) -> Iterator[dict[str, _Judged]]:
    """Judge the portions, here or in processes."""
    if workers <= 1:
        yield from map(_judge, jobs)
        return
    method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else 'spawn'
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(workers, context, cv2.setNumThreads, (1,)) as pool:
        yield from pool.map(_judge, jobs)


def _judge(job: tuple[Any, ...]) -> dict[str, _Judged]:
    """Judge a portion of the samples, each on its own."""
    samples, classes, protocol = job
    iou, drawn = protocol.raster_iou, protocol.raster_ap
    return {
        token: _Judged(
            match_sample(pred, true, len(classes), protocol.chamfer),
            None if iou is None else iou_counts(pred, true, classes, iou),
            None if drawn is None else match_drawings(pred, true, classes, drawn),
        )
        for token, (pred, true) in samples.items()
    }


def _pool(
    judged: Mapping[str, _Judged],
    tokens: Sequence[str],
    classes: Sequence[str],
    protocol: MapProtocol,
) -> MapScores:
    """Scores of some of the samples."""
    limits = np.tile(protocol.chamfer.thresholds_m, (len(classes), 1))
    chamfer = score_matches({t: judged[t].chamfer for t in tokens}, classes, limits)
    iou, drawn = {}, None
    if protocol.raster_iou is not None:
        iou = pool_iou([judged[t].raster_iou for t in tokens])
    if protocol.raster_ap is not None:
        limits = protocol.raster_ap.thresholds(classes)
        matches = {t: judged[t].raster_ap for t in tokens}
        drawn = score_matches(matches, classes, limits, RECALL_POINTS)
    return MapScores(chamfer, iou, drawn)
