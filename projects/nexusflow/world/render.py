# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Pictures of a scene, and what they show of each track.

Painter's algorithm on a canvas finer than the image: sky, ground (warped from pictures made once
per scene), shadows, then buildings, trees and tracks from far to near. A fourth channel of the
canvas holds who owns each pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nexusflow.world.backdrop import Backdrop
from nexusflow.world.camera import LIDAR2EGO, CameraRig
from nexusflow.world.cast import Cast
from nexusflow.world.ground_view import GroundView
from nexusflow.world.lidar_returns import expected_lidar_points
from nexusflow.world.objects import object_mesh, seeded_rng
from nexusflow.world.poses import Poses
from nexusflow.world.scene import CityMap, NDArrayFloat, NDArrayInt, SceneLog
from nexusflow.world.sensor import Sensor
from nexusflow.world.shadows import Darkener
from nexusflow.world.sketch import NO_OWNER
from nexusflow.world.stage import build_stage
from nexusflow.world.styles import CityStyle
from nexusflow.world.view import Views

_CORNER_SIGNS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
#: Wider images than this are drawn without supersampling, pixels.
_SUPERSAMPLED_WIDTH = 900


@dataclass(frozen=True)
class RenderedFrame:
    """What the cameras see at one key frame; N tracks in the order of ``SceneLog.tracks``.

    Attributes:
        images: Channel to (H, W, 3) BGR picture.
        visible_px: (N,) pixels that show the track, summed over the cameras.
        visible_fraction: (N,) share of the track's silhouette inside the image that nothing hides; best camera.
        num_lidar_pts: (N,) expected lidar returns; 0 for what no camera sees.
        ids: Channel to (H, W) index of the track that owns the pixel, else -1; None if not asked for.
    """

    images: dict[str, NDArray[np.uint8]]
    visible_px: NDArrayInt
    visible_fraction: NDArrayFloat
    num_lidar_pts: NDArrayInt
    ids: dict[str, NDArray[np.int32]] | None


class SceneRenderer:
    """Draws the frames of one scene, in any order.

    Args:
        city_map: Map of the scene's location.
        scene: The drive.
        rig: Cameras.
        style: The city's look.
        seed: With the scene's name it decides everything random.
    """

    def __init__(
        self, city_map: CityMap, scene: SceneLog, rig: CameraRig, style: CityStyle, seed: int
    ) -> None:
        self._scene = scene
        self._rig = rig
        self._style = style
        self._seed = seed
        self._supersampling = 2 if rig[0].width <= _SUPERSAMPLED_WIDTH else 1
        rng = seeded_rng(seed, scene.name)
        sun = _sun_direction(style, rng)
        stage = build_stage(city_map, scene, style, seed, sun)
        tracks = scene.tracks
        meshes = [object_mesh(t, style, seeded_rng(seed, scene.name, t.name)) for t in tracks]
        track_sizes = [(t.size_wlh_m[1], t.size_wlh_m[0], t.size_wlh_m[2]) for t in tracks]
        self._track_size = np.array(track_sizes, dtype=np.float64).reshape(-1, 3)
        prop_size = np.array([p.size_lwh_m for p in stage.props]).reshape(-1, 3)
        self._cast = Cast(
            [*meshes, *(p.mesh for p in stage.props)],
            np.concatenate([self._track_size, prop_size]),
            len(tracks),
            np.array([*[False] * len(tracks), *(p.solid for p in stage.props)], dtype=bool),
            style,
            sun,
        )
        self._views = Views.of_rig(rig, self._supersampling)
        self._poses = _all_poses(scene, self._track_size[:, 2])
        self._prop_xy = np.array([p.xy_m for p in stage.props]).reshape(-1, 2)
        self._prop_yaw = np.array([p.yaw_rad for p in stage.props])
        ss = self._supersampling
        self._ground = [
            GroundView(c, ss, stage.levels, style.fog_m, style.sky_horizon) for c in rig
        ]
        self._backdrop = [
            Backdrop(c, ss, g.first_row, style, seeded_rng(seed, scene.location, 'skyline'))
            for c, g in zip(rig, self._ground, strict=True)
        ]
        shape = max(c.height for c in rig) * ss, max(c.width for c in rig) * ss
        self._canvas = [np.empty((c.height * ss, c.width * ss, 4), np.uint8) for c in rig]
        self._darkener = Darkener(shape, 1.0 - 0.2 - 0.45 * style.sun_strength)
        largest = max(c.width for c in rig), max(c.height for c in rig)
        self._sensor = Sensor(largest, style, rng)

    def render(self, frame_idx: int, with_ids: bool = False) -> RenderedFrame:
        """Draws one key frame.

        Args:
            frame_idx: Index into the scene's frames.
            with_ids: Whether to return the owner of each pixel.

        Returns:
            The pictures and what they show.

        Raises:
            IndexError: If the scene has no such frame.
        """
        frames = len(self._scene.timestamps_us)
        if not 0 <= frame_idx < frames:
            raise IndexError(
                f"scene '{self._scene.name}': frame_idx must lie in [0, {frames}), got {frame_idx}"
            )
        ego2global = self.ego2global(frame_idx)
        poses, views = self._frame_poses(frame_idx), self._views.moved(ego2global)
        shadows, sketches = self._cast.shadows(poses, views), self._cast.sketches(poses, views)
        count = len(self._scene.tracks)
        visible_px = np.zeros(count, dtype=np.int64)
        fraction = np.zeros(count)
        images, ids = {}, {}
        noise = seeded_rng(self._seed, self._scene.name, 'noise', frame_idx)
        places = self._sensor.places(len(self._rig), noise)
        for i, camera in enumerate(self._rig):
            canvas = self._canvas[i]
            self._backdrop[i].draw(canvas, float(self._scene.ego_yaw_rad[frame_idx]))
            self._ground[i].draw(canvas, ego2global[np.ix_([0, 1, 3], [0, 1, 3])])
            self._darkener.darken(canvas, self._ground[i].first_row, shadows[i])
            seen = sketches[i].paint(canvas, self._supersampling)
            visible_px[seen.tracks] += seen.image_px
            share = seen.visible_px / np.maximum(seen.silhouette_px, 1)
            fraction[seen.tracks] = np.maximum(fraction[seen.tracks], share)
            images[camera.channel] = self._sensor.develop(
                canvas, (camera.width, camera.height), places[i]
            )
            if with_ids:
                lookup = np.full(NO_OWNER + 1, -1, dtype=np.int32)
                lookup[: len(seen.tracks)] = seen.tracks
                step = self._supersampling
                ids[camera.channel] = lookup[canvas[::step, ::step, 3]]
        points = expected_lidar_points(self._corners_from_lidar(ego2global, poses), fraction)
        points[~poses.present[:count]] = 0
        return RenderedFrame(images, visible_px, fraction, points, ids if with_ids else None)

    def ego2global(self, frame_idx: int) -> NDArrayFloat:
        """(4, 4) pose of the ego at a key frame."""
        x, y = self._scene.ego_xy_m[frame_idx]
        yaw = self._scene.ego_yaw_rad[frame_idx]
        cos, sin = np.cos(yaw), np.sin(yaw)
        return np.array([[cos, -sin, 0, x], [sin, cos, 0, y], [0, 0, 1, 0], [0, 0, 0, 1.0]])

    def _frame_poses(self, frame_idx: int) -> Poses:
        tracks = self._poses[frame_idx]
        props = len(self._prop_yaw)
        bottom = np.zeros((len(tracks) + props, 3))
        bottom[: len(tracks)] = np.nan_to_num(tracks[:, :3])
        bottom[len(tracks) :, :2] = self._prop_xy
        yaw = np.concatenate([np.nan_to_num(tracks[:, 3]), self._prop_yaw])
        present = np.concatenate([np.isfinite(tracks[:, 0]), np.ones(props, dtype=bool)])
        return Poses(bottom, yaw, present)

    def _corners_from_lidar(self, ego2global: NDArrayFloat, poses: Poses) -> NDArrayFloat:
        """(N, 8, 3) corners of the tracks' boxes relative to the lidar; global axes."""
        lidar = (ego2global @ LIDAR2EGO)[:3, 3]
        count = len(self._track_size)
        local = _CORNER_SIGNS * self._track_size[:, None]
        cos, sin = (f(poses.yaw_rad[:count])[:, None] for f in (np.cos, np.sin))
        x, y = local[..., 0], local[..., 1]
        corners = np.stack([cos * x - sin * y, sin * x + cos * y, local[..., 2]], axis=-1)
        center = poses.bottom_m[:count] + self._track_size * (0.0, 0.0, 0.5)
        return np.asarray(corners + (center - lidar)[:, None])


def _sun_direction(style: CityStyle, rng: np.random.Generator) -> NDArrayFloat:
    """(3,) towards the sun, varied a little from scene to scene."""
    azimuth = np.deg2rad(style.sun_azimuth_deg + rng.normal(0.0, 12.0))
    elevation = np.deg2rad(style.sun_elevation_deg + rng.normal(0.0, 4.0))
    flat = np.cos(elevation)
    return np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])


def _all_poses(scene: SceneLog, height_m: NDArrayFloat) -> NDArrayFloat:
    """(F, N, 4) bottom centre and yaw of each track in each frame; NaN where it does not exist."""
    poses = np.full((len(scene.timestamps_us), len(scene.tracks), 4), np.nan)
    for i, track in enumerate(scene.tracks):
        poses[track.frames, i, :3] = track.center_m - (0.0, 0.0, height_m[i] / 2)
        poses[track.frames, i, 3] = track.yaw_rad
    return poses
