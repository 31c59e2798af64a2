# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""All things above the ground of one scene as flat arrays, and which of their faces the cameras see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nexusflow.world.hiding import surely_hidden
from nexusflow.world.mesh import Mesh, px_at
from nexusflow.world.painter import paint_order
from nexusflow.world.poses import Poses
from nexusflow.world.scene import NDArrayFloat, NDArrayInt
from nexusflow.world.shadows import shadow_quads
from nexusflow.world.sketch import NO_OWNER, Run, Sketch
from nexusflow.world.styles import CityStyle
from nexusflow.world.view import NEAR_M, CanvasFaces, Views, project_faces

#: Things farther than this are not drawn, metres.
DRAW_RANGE_M = 140.0
#: Tracks farther than this cast no shadow, metres.
_SHADOW_RANGE_M = 60.0


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
        self._count = np.array([len(m.quads) for m in meshes], dtype=np.int64)
        self._first = np.cumsum(self._count) - self._count
        owner = np.repeat(np.arange(len(meshes)), self._count)
        # Painting order of each thing's faces, for a camera behind and for one in front of it.
        self._order = np.stack(
            [np.lexsort((mesh.rank + side * mesh.axial_rank, owner)) for side in (-1.0, 1.0)]
        )
        diagonals = mesh.quads[:, 2:] - mesh.quads[:, :2]
        normal = np.cross(diagonals[:, 0], diagonals[:, 1])
        self._normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        self._plane = (self._normal * mesh.quads[:, 0]).sum(axis=1)

    def shadows(self, poses: Poses, views: Views) -> list[CanvasFaces]:
        """The tracks' shadows on the canvas of each camera.

        Args:
            poses: Where the things are.
            views: The cameras.

        Returns:
            Faces on the ground, in no order.
        """
        bottom, size = poses.bottom_m[: self._tracked], self._size[: self._tracked]
        offset = bottom[:, :2] - views.position_m[:, None, :2]
        near = (offset**2).sum(axis=2) < _SHADOW_RANGE_M**2
        near &= views.sees(bottom, self._radius[: self._tracked] + 3.0)
        view, track = np.nonzero(near & poses.present[: self._tracked])
        yaw = poses.yaw_rad[: self._tracked]
        quads = shadow_quads(bottom, yaw, size, self._sun).reshape(-1, 2, 4, 3)[track]
        view = np.repeat(view, 2)
        faces = project_faces(views.to_camera(view, quads.reshape(-1, 4, 3)), view, views)
        return [faces.part(span) for span in _spans(view[faces.kept], len(views.pose))]

    def sketches(self, poses: Poses, views: Views) -> list[Sketch]:
        """What each camera sees, far things first.

        Args:
            poses: Where the things are.
            views: The cameras.

        Returns:
            A sketch for each camera.
        """
        view, thing = self._appearing(poses, views)
        values, tracks = self._values(view, thing, len(views.pose))
        faces, colors, pair = self._faces(view, thing, poses, views)
        paints = np.round(np.column_stack([colors, values[pair]])).astype(np.uint8)
        sketches = []
        for span, owners in zip(_spans(view[pair], len(views.pose)), tracks, strict=True):
            part = faces.part(span)
            runs = _runs(part.boxes, pair[span], values)
            sketches.append(Sketch(part, paints[span].tolist(), runs, owners))
        return sketches

    def _appearing(self, poses: Poses, views: Views) -> tuple[NDArrayInt, NDArrayInt]:
        """Pairs of a camera and a thing that it may see: camera by camera, far to near."""
        offset = poses.bottom_m - views.position_m[:, None]
        near = np.sqrt((offset**2).sum(axis=2)) < DRAW_RANGE_M + self._radius
        seen = near & poses.present & views.sees(poses.bottom_m, self._radius)
        ordered = []
        for camera, row in enumerate(seen):
            things = np.flatnonzero(row)
            order = paint_order(
                poses.bottom_m[things, :2],
                poses.yaw_rad[things],
                self._size[things, :2] / 2,
                views.position_m[camera, :2],
            )
            ordered.append(things[order])
        view = np.repeat(np.arange(len(seen)), [len(things) for things in ordered])
        thing = np.concatenate(ordered)
        hidden = surely_hidden(
            views.to_camera(view, poses.bottom_m[thing]),
            _axes(poses.yaw_rad[thing], view, views),
            self._size[thing],
            self._solid[thing],
            view,
            NEAR_M,
        )
        return view[~hidden], thing[~hidden]

    def _values(
        self, view: NDArrayInt, thing: NDArrayInt, views: int
    ) -> tuple[NDArrayInt, list[NDArrayInt]]:
        """Values of pairs in the fourth channel; for each camera the tracks by value.

        The nearest tracks get values: the fourth channel has room for ``NO_OWNER`` of them.
        """
        values = np.full(len(thing), NO_OWNER, dtype=np.int64)
        tracks = []
        for span in _spans(view, views):
            places = np.flatnonzero(thing[span] < self._tracked)[::-1][:NO_OWNER] + span.start
            values[places] = np.arange(len(places))
            tracks.append(thing[places])
        return values, tracks

    def _faces(
        self, view: NDArrayInt, thing: NDArrayInt, poses: Poses, views: Views
    ) -> tuple[CanvasFaces, NDArrayFloat, NDArrayInt]:
        """Faces of pairs in painting order, their colours and the positions of their pairs."""
        mesh = self._mesh
        bottom = poses.bottom_m[thing]
        eye = poses.turned(thing, views.position_m[view] - bottom)
        offset = views.to_camera(view, bottom)
        size_px = px_at(1.0, 1.0) * self._size[thing, 2] / np.maximum(offset[:, 2], 0.5)
        count = self._count[thing]
        pair = np.repeat(np.arange(len(thing)), count)
        place = np.arange(len(pair)) + (self._first[thing] - np.cumsum(count) + count)[pair]
        index = self._order[(eye[:, 0] > 0).astype(np.int64)[pair], place]
        shown = np.flatnonzero(size_px[pair] >= mesh.min_px[index])
        index, pair = index[shown], pair[shown]
        shown = np.flatnonzero(_dot(self._normal[index], eye[pair]) > self._plane[index])
        index, pair = index[shown], pair[shown]
        axes = _axes(poses.yaw_rad[thing], view, views)
        corners = mesh.quads[index] @ axes[pair] + offset[pair, None]
        faces = project_faces(corners, view[pair], views)
        index, pair = index[faces.kept], pair[faces.kept]
        light = poses.turned(thing, self._sun)[pair]
        return faces, self._shaded(index, light, np.linalg.norm(offset, axis=1)[pair]), pair

    def _shaded(
        self, index: NDArrayInt, light: NDArrayFloat, distance_m: NDArrayFloat
    ) -> NDArrayFloat:
        """(M, 3) colours of faces in sun, ambient light and fog; light and distance are theirs."""
        normal = self._normal[index]
        lambert = np.maximum(_dot(normal, light), 0.0)
        strength = self._style.sun_strength
        shade = 1.0 - 0.55 * strength + 0.75 * strength * lambert + 0.1 * normal[:, 2]
        shade = np.where(self._mesh.glow[index] > 0, 1.0, shade)
        colors = np.minimum(self._mesh.colors[index] * shade[:, None], 255.0)
        clear = np.exp(distance_m / -self._style.fog_m)[:, None]
        return np.asarray(self._style.sky_horizon * (1.0 - clear) + colors * clear)


def _spans(view: NDArrayInt, views: int) -> list[slice]:
    """For each camera its part of something sorted by camera."""
    cuts = np.searchsorted(view, np.arange(views + 1)).tolist()
    return [slice(a, b) for a, b in zip(cuts[:-1], cuts[1:], strict=True)]


def _runs(boxes: NDArrayInt, pair: NDArrayInt, values: NDArrayInt) -> list[Run]:
    """The tracks' runs among the faces of one camera, whose pairs are given; ``values`` are those of all pairs."""
    if not len(pair):
        return []
    starts = np.concatenate([[0], np.flatnonzero(np.diff(pair)) + 1])
    low = np.minimum.reduceat(boxes[:, :2], starts)
    high = np.maximum.reduceat(boxes[:, 2:], starts)
    rows = np.column_stack([np.append(starts[1:], len(pair)), values[pair[starts]], low, high])
    return [Run(*row) for row in rows[rows[:, 1] != NO_OWNER].tolist()]


def _axes(yaw_rad: NDArrayFloat, view: NDArrayInt, views: Views) -> NDArrayFloat:
    """(P, 3, 3) rows are the x, y and z directions of things, camera frames."""
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    axes = np.zeros((len(yaw_rad), 3, 3))
    axes[:, 0, 0], axes[:, 0, 1] = cos, sin
    axes[:, 1, 0], axes[:, 1, 1] = -sin, cos
    axes[:, 2, 2] = 1.0
    return np.asarray(axes @ views.pose[view, :3, :3])


def _dot(a: NDArrayFloat, b: NDArrayFloat) -> NDArrayFloat:
    """(K,) scalar products of (K, 3) vectors."""
    return np.asarray(np.einsum('ij,ij->i', a, b))
