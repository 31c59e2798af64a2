# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The cameras of a rig in the world, and faces on their canvases: near-plane clipping and projection.

All cameras are treated at once: what costs time here is the number of array operations, not their size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nexusflow.world.camera import Camera
from nexusflow.world.drawing import fixed_point
from nexusflow.world.scene import NDArrayFloat, NDArrayInt

#: Nothing nearer than this along the optical axis is drawn, metres.
NEAR_M = 0.2


@dataclass(frozen=True)
class Views:
    """V cameras in one frame of reference.

    Attributes:
        pose: (V, 4, 4) camera frames to the frame of reference.
        focal_px: (V, 2) focal lengths on the canvas.
        center_px: (V, 2) principal points on the canvas, integer at pixel centres.
        size_px: (V, 2) width and height of the canvases.
    """

    pose: NDArrayFloat
    focal_px: NDArrayFloat
    center_px: NDArrayFloat
    size_px: NDArrayFloat

    @classmethod
    def of_rig(cls, rig: Sequence[Camera], supersampling: int) -> Views:
        """The cameras of a rig in the ego frame.

        Args:
            rig: The cameras.
            supersampling: Canvas pixels per image pixel and side.

        Returns:
            The views.
        """
        matrices = np.array([camera.cam2img for camera in rig], dtype=np.float64)
        intrinsics: NDArrayFloat = matrices * supersampling
        size = np.array([[camera.width, camera.height] for camera in rig], dtype=np.float64)
        return cls(
            np.array([camera.cam2ego for camera in rig]),
            intrinsics[:, [0, 1], [0, 1]],
            intrinsics[:, :2, 2] - 0.5,
            size * supersampling,
        )

    def moved(self, ego2global: NDArrayFloat) -> Views:
        """The views in the global frame, from views in the ego frame; ``ego2global`` is (4, 4)."""
        return replace(self, pose=ego2global @ self.pose)

    @property
    def position_m(self) -> NDArrayFloat:
        """(V, 3) positions of the cameras."""
        return self.pose[:, :3, 3]

    def to_camera(self, view: NDArrayInt, points_m: NDArrayFloat) -> NDArrayFloat:
        """Points to camera frames.

        Args:
            view: (P,) camera of each group of points.
            points_m: (P, ..., 3) groups of points, frame of reference.

        Returns:
            (P, ..., 3) points, camera frames.
        """
        size = math.prod(points_m.shape[1:-1])
        groups = points_m.reshape(len(view), size, 3) - self.position_m[view, None]
        return np.asarray(groups @ self.pose[view, :3, :3]).reshape(points_m.shape)

    def sees(self, center_m: NDArrayFloat, radius_m: NDArrayFloat) -> NDArray[np.bool_]:
        """Whether upright cylinders touch the wedges between the left and right image borders.

        Args:
            center_m: (I, 3) centres, frame of reference.
            radius_m: (I,) radii.

        Returns:
            (V, I)
        """
        axes = self.pose[:, :3, :3]
        local = center_m @ axes[..., [0, 2]] - self.position_m[:, None] @ axes[..., [0, 2]]
        right, depth = local[..., 0], local[..., 1]
        focal, center = self.focal_px[:, :1], self.center_px[:, :1] + 0.5
        visible = depth > NEAR_M - radius_m
        for sign, half_width in ((1.0, self.size_px[:, :1] - center), (-1.0, center)):
            outside = right * (sign * focal) - depth * half_width
            visible &= outside < radius_m * np.hypot(focal, half_width)
        return np.asarray(visible)


@dataclass(frozen=True)
class CanvasFaces:
    """Convex polygons on canvases.

    Attributes:
        kept: (M,) which of the given faces touch their canvas.
        polygons: M arrays (3 to 5, 2) as ``fixed_point`` makes them.
        boxes: (M, 4) first column, first row, last column + 1, last row + 1 on the canvas.
    """

    kept: NDArrayInt
    polygons: list[NDArray[np.int32]]
    boxes: NDArrayInt

    def part(self, span: slice) -> CanvasFaces:
        """Some of the faces."""
        return CanvasFaces(self.kept[span], self.polygons[span], self.boxes[span])


def project_faces(corners_m: NDArrayFloat, view: NDArrayInt, views: Views) -> CanvasFaces:
    """Projects faces and cuts off what lies before the near plane.

    Args:
        corners_m: (F, 4, 3) corners, camera frames.
        view: (F,) camera of each face.
        views: The cameras.

    Returns:
        The faces that touch their canvas, in the given order.
    """
    focal, center = views.focal_px[view, None], views.center_px[view, None]
    size = views.size_px[view]
    depth = corners_m[..., 2:]
    (low_depth,), (high_depth,) = (extreme.T for extreme in _extent(depth))
    seen = high_depth >= NEAR_M
    uv = corners_m[..., :2] / np.maximum(depth, NEAR_M) * focal + center
    cut = np.flatnonzero(seen & (low_depth < NEAR_M))
    low, high = _extent(uv)
    pieces: dict[int, NDArray[np.int32]] = {}
    for i in cut.tolist():
        piece = _clip_near(corners_m[i])
        piece = piece[:, :2] / piece[:, 2:] * focal[i] + center[i]
        low[i], high[i] = piece.min(axis=0), piece.max(axis=0)
        pieces[i] = fixed_point(piece)
    touches = (high > -0.5) & (low < size - 0.5)
    kept = np.flatnonzero(touches[:, 0] & touches[:, 1] & seen)
    polygons = list(fixed_point(uv[kept]))
    for position in np.flatnonzero(low_depth[kept] < NEAR_M).tolist():
        polygons[position] = pieces[int(kept[position])]
    limit = size[kept]
    boxes = np.concatenate(
        [
            np.minimum(np.maximum(np.floor(low[kept]), 0.0), limit),
            np.minimum(np.maximum(np.ceil(high[kept]) + 2.0, 0.0), limit),
        ],
        axis=1,
    )
    return CanvasFaces(kept, polygons, boxes.astype(np.int64))


def _extent(values: NDArrayFloat) -> tuple[NDArrayFloat, NDArrayFloat]:
    """(F, C) least and greatest over the corners of (F, 4, C); much faster than ``min`` over so short an axis."""
    first, second = values[:, :2], values[:, 2:]
    low, high = np.minimum(first, second), np.maximum(first, second)
    return np.minimum(low[:, 0], low[:, 1]), np.maximum(high[:, 0], high[:, 1])


def _clip_near(corners_m: NDArrayFloat) -> NDArrayFloat:
    """The part of a convex polygon beyond the near plane (Sutherland and Hodgman, one plane)."""
    result = []
    for start, end in zip(corners_m, np.roll(corners_m, -1, axis=0), strict=True):
        inside = start[2] >= NEAR_M
        if inside:
            result.append(start)
        if inside != (end[2] >= NEAR_M):
            result.append(start + (end - start) * (NEAR_M - start[2]) / (end[2] - start[2]))
    return np.array(result)
