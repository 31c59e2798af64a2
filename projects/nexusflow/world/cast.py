# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""All things above the ground of one scene as flat arrays, and how they are drawn into one camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nexusflow.world.drawing import SHIFT, UInt8Image
from nexusflow.world.hiding import surely_hidden
from nexusflow.world.mesh import Mesh, px_at
from nexusflow.world.painter import paint_order
from nexusflow.world.poses import Poses
from nexusflow.world.scene import NDArrayFloat, NDArrayInt
from nexusflow.world.shadows import darken, shadow_quads
from nexusflow.world.styles import CityStyle
from nexusflow.world.view import NEAR_M, CanvasFaces, View, project_faces

#: Value of the canvas's fourth channel where no track is seen.
NO_OWNER = 255
#: Things farther than this are not drawn, metres.
DRAW_RANGE_M = 140.0
#: Tracks farther than this cast no shadow, metres.
_SHADOW_RANGE_M = 60.0


@dataclass(frozen=True)
class Seen:
    """How much of the tracks one camera sees.

    Attributes:
        tracks: (K,) tracks with a silhouette; their positions are their values in the canvas's fourth channel.
        silhouette_px: (K,) canvas pixels each would have if nothing stood in front.
        visible_px: (K,) canvas pixels each has.
    """

    tracks: NDArrayInt
    silhouette_px: NDArrayInt
    visible_px: NDArrayInt


class Cast:
    """The things of one scene; the first ``tracked`` of them are tracks and own pixels.

    Args:
        meshes: Shape of each thing.
        size_lwh_m: (I, 3) length, width, height of each thing.
        tracked: How many of them are tracks.
        solid: (I,) whether it fills its box and is higher than a camera.
        style: Light and fog.
        sun: (3,) unit vector towards the sun, global frame.
    """

    def __init__(
        self,
        meshes: Sequence[Mesh],
        size_lwh_m: NDArrayFloat,
        tracked: int,
        solid: NDArray[np.bool_],
        style: CityStyle,
        sun: NDArrayFloat,
    ) -> None:
        self._size = size_lwh_m.reshape(-1, 3)
        self._radius = np.linalg.norm(self._size[:, :2], axis=1) / 2
        self._tracked = tracked
        self._solid = solid
        self._style = style
        self._sun = sun
        self._mesh = mesh = Mesh.concatenate(meshes)
        self._owner = np.repeat(np.arange(len(meshes)), [len(m.rank) for m in meshes])
        diagonals = mesh.quads[:, 2:] - mesh.quads[:, :2]
        normal = np.cross(diagonals[:, 0], diagonals[:, 1])
        self._normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        self._plane = (self._normal * mesh.quads[:, 0]).sum(axis=1)

    def draw_shadows(self, canvas: UInt8Image, first_row: int, poses: Poses, view: View) -> None:
        """Darkens the ground under and behind the tracks.

        Args:
            canvas: (H, W, 4) picture with the ground.
            first_row: First row of the ground.
            poses: Where the things are.
            view: The camera.
        """
        near = np.linalg.norm(poses.bottom_m[:, :2] - view.position_m[:2], axis=1)
        near = (near < _SHADOW_RANGE_M) & poses.present & (np.arange(len(near)) < self._tracked)
        index = np.flatnonzero(near & view.sees(poses.bottom_m, self._radius + 3.0))
        if len(index):
            quads = shadow_quads(
                poses.bottom_m[index], poses.yaw_rad[index], self._size[index], self._sun
            )
            gain = 1.0 - 0.2 - 0.45 * self._style.sun_strength
            darken(canvas, first_row, quads, gain, view)

    def draw(self, canvas: UInt8Image, poses: Poses, view: View) -> Seen:
        """Draws what the camera sees, far things first.

        Args:
            canvas: (H, W, 4) picture to draw into.
            poses: Where the things are.
            view: The camera.

        Returns:
            What is seen of the tracks.
        """
        distance = np.linalg.norm(poses.bottom_m - view.position_m, axis=1)
        in_range = poses.present & (distance < DRAW_RANGE_M + self._radius)
        things = np.flatnonzero(in_range & view.sees(poses.bottom_m, self._radius))
        order = paint_order(
            poses.bottom_m[things, :2],
            poses.yaw_rad[things],
            self._size[things, :2] / 2,
            view.position_m[:2],
        )
        things = self._unhidden(things[order], poses, view)
        # The nearest tracks get values: the fourth channel has room for NO_OWNER of them.
        tracks = things[things < self._tracked][::-1][:NO_OWNER]
        value = np.full(len(self._size), NO_OWNER, dtype=np.int64)
        value[tracks] = np.arange(len(tracks))
        faces, colors, position = self._faces(things, poses, view)
        values = value[things][position]
        silhouette, boxes = _paint(canvas, faces, np.column_stack([colors, values]))
        visible = [
            np.count_nonzero(canvas[y0:y1, x0:x1, 3] == v) for v, (x0, y0, x1, y1) in boxes.items()
        ]
        seen = np.array(list(boxes), dtype=np.int64)
        result = np.zeros((2, len(tracks)), dtype=np.int64)
        result[:, seen] = [[silhouette[v] for v in boxes], visible]
        return Seen(tracks, result[0], result[1])

    def _unhidden(self, things: NDArrayInt, poses: Poses, view: View) -> NDArrayInt:
        """Things (far to near) without those that a building hides."""
        hidden = surely_hidden(
            view.to_camera(poses.bottom_m[things]),
            _axes(poses.yaw_rad[things], view),
            self._size[things],
            self._solid[things],
            NEAR_M,
        )
        return things[~hidden]

    def _faces(
        self, things: NDArrayInt, poses: Poses, view: View
    ) -> tuple[CanvasFaces, NDArrayFloat, NDArrayInt]:
        """Faces of things (given far to near) in painting order, their colours and positions in ``things``."""
        mesh = self._mesh
        place = np.full(len(self._size), -1)
        place[things] = np.arange(len(things))
        position = place[self._owner]
        eye = poses.turned(things, view.position_m - poses.bottom_m[things])
        offset = view.to_camera(poses.bottom_m[things])
        size_px = px_at(1.0, 1.0) * self._size[things, 2] / np.maximum(offset[:, 2], 0.5)
        index = np.flatnonzero(position >= 0)
        position = position[index]
        shown = _dot(self._normal[index], eye[position]) > self._plane[index]
        shown &= size_px[position] >= mesh.min_px[index]
        index, position = index[shown], position[shown]
        side = np.where(eye[:, 0] > 0, 1.0, -1.0)[position]
        order = np.lexsort((mesh.rank[index] + side * mesh.axial_rank[index], position))
        index, position = index[order], position[order]
        corners = mesh.quads[index] @ _axes(poses.yaw_rad[things], view)[position]
        corners += offset[position][:, None]
        faces = project_faces(corners, view)
        index, position = index[faces.kept], position[faces.kept]
        return faces, self._shaded(index, position, things, poses, offset), position

    def _shaded(
        self,
        index: NDArrayInt,
        position: NDArrayInt,
        things: NDArrayInt,
        poses: Poses,
        offset: NDArrayFloat,
    ) -> NDArrayFloat:
        """(M, 3) colours of faces in sun, ambient light and fog."""
        light = poses.turned(things, self._sun)
        normal = self._normal[index]
        lambert = np.maximum(_dot(normal, light[position]), 0.0)
        strength = self._style.sun_strength
        shade = 1.0 - 0.55 * strength + 0.75 * strength * lambert + 0.1 * normal[:, 2]
        shade = np.where(self._mesh.glow[index] > 0, 1.0, shade)
        colors = np.minimum(self._mesh.colors[index] * shade[:, None], 255.0)
        clear = np.exp(-np.linalg.norm(offset, axis=1) / self._style.fog_m)[position, None]
        return np.asarray(self._style.sky_horizon * (1.0 - clear) + colors * clear)


def _axes(yaw_rad: NDArrayFloat, view: View) -> NDArrayFloat:
    """(K, 3, 3) rows are the x, y and z directions of things, camera frame."""
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    zero, one = np.zeros_like(cos), np.ones_like(cos)
    axes = np.array([[cos, sin, zero], [-sin, cos, zero], [zero, zero, one]]).transpose(2, 0, 1)
    return np.asarray(axes @ view.rotation.T)


def _dot(a: NDArrayFloat, b: NDArrayFloat) -> NDArrayFloat:
    """(K,) scalar products of (K, 3) vectors."""
    return np.asarray(a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2])


def _paint(
    canvas: UInt8Image, faces: CanvasFaces, colors: NDArrayFloat
) -> tuple[dict[int, int], dict[int, tuple[int, int, int, int]]]:
    """Paints faces in order; a track's silhouette is counted before anything nearer is painted.

    Args:
        canvas: (H, W, 4) picture.
        faces: In painting order, those of one thing in one run.
        colors: (M, 4) blue, green, red, value of the owner.

    Returns:
        Silhouettes in canvas pixels, and bounding boxes on the canvas, by value.
    """
    if not faces.polygons:
        return {}, {}
    values = colors[:, 3].astype(np.int64)
    paints = np.round(colors).tolist()
    fill, line, shift = cv2.fillConvexPoly, cv2.LINE_8, SHIFT
    silhouette: dict[int, int] = {}
    boxes: dict[int, tuple[int, int, int, int]] = {}
    starts = np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1])
    low = np.minimum.reduceat(faces.boxes[:, :2], starts)
    high = np.maximum.reduceat(faces.boxes[:, 2:], starts)
    bounds = np.column_stack([starts, np.append(starts[1:], len(values)), low, high]).tolist()
    for first, last, x0, y0, x1, y1 in bounds:
        for polygon, paint in zip(faces.polygons[first:last], paints[first:last], strict=True):
            fill(canvas, polygon, paint, line, shift)
        value = int(values[first])
        if value != NO_OWNER:
            silhouette[value] = int(np.count_nonzero(canvas[y0:y1, x0:x1, 3] == value))
            boxes[value] = (x0, y0, x1, y1)
    return silhouette, boxes
