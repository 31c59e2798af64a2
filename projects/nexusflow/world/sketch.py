# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What one camera is about to see, as polygons in painting order; and the painting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from nexusflow.world.drawing import SHIFT, UInt8Image
from nexusflow.world.scene import NDArrayInt
from nexusflow.world.view import CanvasFaces

#: Value of the canvas's fourth channel where no track is seen.
NO_OWNER = 255


class Run(NamedTuple):
    """The faces of one track, which follow each other.

    Attributes:
        last: Number of faces up to its end.
        value: Of the track in the canvas's fourth channel.
        left: First column of its box on the canvas.
        top: First row.
        right: Last column + 1.
        bottom: Last row + 1.
    """

    last: int
    value: int
    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class Seen:
    """How much of the tracks one camera sees.

    Attributes:
        tracks: (K,) tracks; their positions are their values in the canvas's fourth channel.
        silhouette_px: (K,) canvas pixels each would have if nothing stood in front.
        visible_px: (K,) canvas pixels each has.
        image_px: (K,) pixels each has in the image, which takes every n-th row and column of the canvas.
    """

    tracks: NDArrayInt
    silhouette_px: NDArrayInt
    visible_px: NDArrayInt
    image_px: NDArrayInt


@dataclass(frozen=True)
class Sketch:
    """What is painted over the ground of one canvas.

    Attributes:
        faces: M faces in painting order.
        paints: (M, 4) blue, green, red, value of the owner.
        runs: Those of tracks, in painting order.
        tracks: (K,) tracks by value.
    """

    faces: CanvasFaces
    paints: list[list[int]]
    runs: list[Run]
    tracks: NDArrayInt

    def paint(self, canvas: UInt8Image, supersampling: int) -> Seen:
        """Paints the faces; a track's silhouette is counted before anything nearer is painted.

        Args:
            canvas: (H, W, 4) picture.
            supersampling: Canvas pixels per image pixel and side.

        Returns:
            What is seen of the tracks.
        """
        pixels = np.zeros((3, len(self.tracks)), dtype=np.int64)
        owner = canvas[..., 3]
        first = 0
        for run in self.runs:
            self._fill(canvas, first, run.last)
            own = owner[run.top : run.bottom, run.left : run.right] == run.value
            pixels[0, run.value] = np.count_nonzero(own)
            first = run.last
        self._fill(canvas, first, len(self.paints))
        for run in self.runs:
            own = owner[run.top : run.bottom, run.left : run.right] == run.value
            pixels[1, run.value] = np.count_nonzero(own)
            sampled = own[-run.top % supersampling :: supersampling]
            pixels[2, run.value] = np.count_nonzero(
                sampled[:, -run.left % supersampling :: supersampling]
            )
        return Seen(self.tracks, *pixels)

    def _fill(self, canvas: UInt8Image, first: int, last: int) -> None:
        fill, line, shift = cv2.fillConvexPoly, cv2.LINE_8, SHIFT
        faces = zip(self.faces.polygons[first:last], self.paints[first:last], strict=True)
        for polygon, paint in faces:
            fill(canvas, polygon, paint, line, shift)
