# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""IoU of drawn map lines, as UniAD reports it (Hu et al., arXiv 2212.10156, section 4.3).

A square of 102.4 m around the car is a canvas of 200 x 200 cells; lines have OpenCV's thickness 2
(3 cells); a ped crossing is its two longest edges, not its area. The classes are drawn in the order
divider, crossing, contour (our ``boundary``); around a line of a later class (thickness + 4) lines
of earlier classes are erased. Per class, intersections and unions are summed over the data set
before they are divided. ``lanes`` is the union of the three ("any map line"). Centrelines, which
UniAD does not have, are not drawn.

UniAD predicts masks, we predict lines, so both sides are drawn by the same rules here, and
predictions below a score are left out (UniAD drops masks below 0.1). Beyond the range of the map
both sides are empty. Where crossings touch, the edges are those of their union.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from .chamfer_ap import MapLines

__all__ = ['NAMES', 'RasterIou', 'iou_counts', 'longest_edges', 'pool_iou', 'whole_px']

NAMES = ('lanes', 'divider', 'crossing', 'contour')
_FAR_PX = 1e6
_CROSSING = 'ped_crossing'
_DRAWN = ('divider', _CROSSING, 'boundary')


@dataclass(frozen=True)
class RasterIou:
    """How lines are drawn.

    Attributes:
        size_px: Cells per side of the square canvas.
        side_m: Side of the square around the lidar, metres.
        thickness_px: Thickness of a line, as OpenCV takes it.
        erase_px: By how much thicker a line of a later class erases those of earlier ones.
        min_score: Predictions below are not drawn.
    """

    size_px: int = 200
    side_m: float = 102.4
    thickness_px: int = 2
    erase_px: int = 4
    min_score: float = 0.1

    def draw(
        self, lines: MapLines, classes: Sequence[str], min_score: float = 0.0
    ) -> NDArray[np.bool_]:
        """Masks of the classes.

        Args:
            lines: Lines of one sample, metres.
            classes: Names of the labels.
            min_score: Lines below are left out.

        Returns:
            (3, size_px, size_px) divider, crossing, contour; row and column grow with y and x.
        """
        shape = (self.size_px, self.size_px)
        masks = np.zeros((len(_DRAWN), *shape), dtype=np.uint8)
        names = np.asarray(classes)[np.asarray(lines.labels, dtype=np.int64)]
        shown = np.asarray(lines.scores) >= min_score
        for layer, name in enumerate(_DRAWN):
            chosen = [lines.pts_m[k] for k in np.flatnonzero(shown & (names == name))]
            if name == _CROSSING:
                chosen = [edge for ring in chosen for edge in longest_edges(ring, self.cell_m)]
            pixels = [self._pixels(pts) for pts in chosen]
            band = np.zeros(shape, dtype=np.uint8)
            cv2.polylines(band, pixels, False, 1, self.thickness_px + self.erase_px)
            masks[:layer, band > 0] = 0
            cv2.polylines(masks[layer], pixels, False, 1, self.thickness_px)
        return masks > 0

    @property
    def cell_m(self) -> float:
        """Side of a cell, metres."""
        return self.side_m / self.size_px

    def _pixels(self, pts_m: NDArray[np.floating]) -> NDArray[np.int32]:
        """(P, 2) column and row of the cells that hold the points."""
        cells = (np.asarray(pts_m, dtype=np.float64) + self.side_m / 2) / self.cell_m
        return whole_px(np.floor(cells))


def whole_px(px: NDArray[np.floating]) -> NDArray[np.int32]:
    """Pixels for OpenCV; what is far off stays off its side, where 32 bits alone would wrap around."""
    return px.clip(-_FAR_PX, _FAR_PX).astype(np.int32)


def longest_edges(ring: NDArray[np.floating], tolerance_m: float) -> list[NDArray[np.floating]]:
    """The two longest edges of a crossing, however many vertices its outline has.

    Args:
        ring: (P, 2) outline, metres; an open line with fewer than 3 edges comes back as it is.
        tolerance_m: Vertices that change the outline by less do not end an edge, and ends no farther apart are one.

    Returns:
        Up to two (2, 2) edges.
    """
    ring = np.array(ring, dtype=np.float64)
    if np.linalg.norm(ring[-1] - ring[0]) <= tolerance_m:
        ring[-1] = ring[0]
        corner = int(((ring - ring[:-1].mean(axis=0)) ** 2).sum(axis=1).argmax())
        ring = np.concatenate([ring[corner:], ring[1 : corner + 1]])
    corners = shapely.get_coordinates(shapely.simplify(shapely.linestrings(ring), tolerance_m))
    if len(corners) < 4:
        return [ring]
    length = ((corners[1:] - corners[:-1]) ** 2).sum(axis=1)
    longest = np.sort(np.argsort(-length, kind='stable')[:2])
    return [corners[k : k + 2] for k in longest]


def iou_counts(
    pred: MapLines, true: MapLines, classes: Sequence[str], spec: RasterIou
) -> NDArray[np.int64]:
    """Cells of intersection and union in one sample.

    Args:
        pred: Predicted lines, metres.
        true: True lines, same frame.
        classes: Names of the labels.
        spec: How they are drawn.

    Returns:
        (4, 2) intersection and union of ``NAMES``.
    """
    found = _with_lanes(spec.draw(pred, classes, spec.min_score))
    real = _with_lanes(spec.draw(true, classes))
    both, either = (found & real).sum(axis=(1, 2)), (found | real).sum(axis=(1, 2))
    return np.stack([both, either], axis=1).astype(np.int64)


def _with_lanes(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The union of the masks before the masks."""
    return np.concatenate([masks.any(axis=0, keepdims=True), masks])


def pool_iou(counts: Sequence[NDArray[np.int64]]) -> dict[str, float]:
    """IoU of a data set.

    Args:
        counts: (4, 2) counts of each sample.

    Returns:
        ``IoU_lanes``, ``IoU_divider``, ``IoU_crossing``, ``IoU_contour``; NaN where nothing is
        drawn on either side.
    """
    total = np.sum([np.zeros((len(NAMES), 2), np.int64), *counts], axis=0)
    return {
        f'IoU_{name}': both / either if either else float('nan')
        for name, (both, either) in zip(NAMES, total.tolist(), strict=True)
    }
