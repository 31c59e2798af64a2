# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What a picture of one sample shows, whether it is a label, a prediction, or read from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexusflow.evaluation.functional.chamfer_ap import MapLines
from nexusflow.evaluation.functional.submission import TRACKING_CLASSES, SampleTracks
from nexusflow.evaluation.metrics.arrays import box_arrays, map_arrays, to_numpy

__all__ = [
    'SampleContent',
    'content_of_info',
    'content_of_labels',
    'content_of_predictions',
    'content_of_results',
]


def _no_boxes() -> NDArray[np.float64]:
    return np.zeros((0, 7))


@dataclass(frozen=True)
class SampleContent:
    """Map lines and boxes of one sample, lidar frame, metres.

    Attributes:
        lines: Polylines (P, 2).
        line_names: Map class of each line.
        boxes: (M, 7) x, y, z of the gravity centre, length, width, height, yaw.
        ids: Identity of each box; it decides the colour.
        trails: Identity to (K, 2) earlier positions, oldest first, in the lidar frame of this
            sample.
    """

    lines: Sequence[NDArray[np.floating]] = ()
    line_names: Sequence[str] = ()
    boxes: NDArray[np.floating] = field(default_factory=_no_boxes)
    ids: Sequence[object] = ()
    trails: Mapping[object, NDArray[np.floating]] = field(default_factory=dict)


def _content(lines: MapLines, classes: Sequence[str], keep: NDArray[np.bool_]) -> dict[str, Any]:
    """The map fields of a content, from those lines that are kept."""
    chosen = np.nonzero(keep)[0]
    return {
        'lines': [np.asarray(lines.pts_m[i]) for i in chosen],
        'line_names': [classes[int(lines.labels[i])] for i in chosen],
    }


def _shown_ids(ids: NDArray[np.integer]) -> list[object]:
    """Identities; boxes of unknown identity (-1) are numbered, so that their colours differ."""
    return [int(number) if number >= 0 else f'box {i}' for i, number in enumerate(ids)]


def content_of_info(
    sample: Mapping[str, Any],
    categories: Sequence[str],
    box_classes: Sequence[str] = TRACKING_CLASSES,
) -> SampleContent:
    """The labels of a sample of an info file.

    Args:
        sample: An element of ``data_list``.
        categories: Names that its ``labels`` mean (``metainfo['categories']``).
        box_classes: The classes whose boxes are shown; boxes without any point are left out.
    """
    vectors = sample['map_vectors'] or {}
    wanted = np.array([categories[label] in box_classes for label in sample['labels']], dtype=bool)
    keep = np.nonzero(wanted & (np.asarray(sample['num_pts']) != 0))[0]
    return SampleContent(
        lines=[line for lines in vectors.values() for line in lines],
        line_names=[name for name, lines in vectors.items() for _ in lines],
        boxes=np.asarray(sample['boxes'], dtype=np.float64)[keep],
        ids=_shown_ids(np.asarray(sample['instance_ids'])[keep]),
    )


def content_of_labels(sample: Any, map_classes: Sequence[str]) -> SampleContent:
    """The labels of a data sample (``gt_map``, ``gt_instances_3d``)."""
    lines = map_arrays(dict(sample.gt_map.items()))
    boxes = sample.gt_instances_3d
    return SampleContent(
        boxes=box_arrays(boxes.bboxes_3d).boxes,
        ids=_shown_ids(to_numpy(boxes.instance_ids)),
        **_content(lines, map_classes, np.ones(len(lines.labels), dtype=bool)),
    )


def content_of_predictions(
    sample: Any, map_classes: Sequence[str], map_score: float = 0.3, box_score: float = 0.3
) -> SampleContent:
    """The predictions of a data sample (``pred_map``, ``pred_instances_3d``) above given scores."""
    lines = map_arrays(dict(sample.pred_map.items()))
    found = sample.pred_instances_3d
    keep = to_numpy(found.scores_3d) >= box_score
    return SampleContent(
        boxes=box_arrays(found.bboxes_3d).boxes[keep],
        ids=to_numpy(found.track_ids)[keep].tolist(),
        **_content(lines, map_classes, np.asarray(lines.scores) >= map_score),
    )


def content_of_results(
    lines: MapLines | None,
    tracks: SampleTracks | None,
    map_classes: Sequence[str],
    map_score: float = 0.3,
    box_score: float = 0.3,
) -> SampleContent:
    """What result files say about one sample; either may be missing."""
    fields: dict[str, Any] = {}
    if lines is not None:
        fields |= _content(lines, map_classes, np.asarray(lines.scores) >= map_score)
    if tracks is not None:
        keep = np.nonzero(np.asarray(tracks.scores) >= box_score)[0]
        fields |= {'boxes': tracks.boxes[keep], 'ids': [tracks.track_ids[i] for i in keep]}
    return SampleContent(**fields)
