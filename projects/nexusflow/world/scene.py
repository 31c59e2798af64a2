# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What a world source hands to the renderer and to the writer: a map, and what moves on it.

The world is flat: the ground is z = 0 of the global frame. Global frame: metres, x east, y north,
yaw counter-clockwise from x.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import LineString, Polygon

NDArrayFloat = NDArray[np.float64]
NDArrayInt = NDArray[np.int64]


@dataclass(frozen=True)
class RoadSegment:
    """A piece of road surface.

    Attributes:
        polygon: Outline, global frame, metres.
        is_intersection: Whether it is a junction.
    """

    polygon: Polygon
    is_intersection: bool = False


@dataclass(frozen=True)
class CityMap:
    """The vector map of one location; all geometry in the global frame, metres.

    Attributes:
        location: nuScenes location name, e.g. ``'boston-seaport'``.
        road_segments: Road surface; edges and junctions.
        lanes: Polygons of the driving lanes.
        ped_crossings: Zebra crossings.
        walkways: Pavements.
        road_dividers: Lines between opposite directions.
        lane_dividers: Lines between lanes of one direction.
        lane_centerlines: Driving direction of each lane, same order as ``lanes``.
    """

    location: str
    road_segments: tuple[RoadSegment, ...] = ()
    lanes: tuple[Polygon, ...] = ()
    ped_crossings: tuple[Polygon, ...] = ()
    walkways: tuple[Polygon, ...] = ()
    road_dividers: tuple[LineString, ...] = ()
    lane_dividers: tuple[LineString, ...] = ()
    lane_centerlines: tuple[LineString, ...] = ()


@dataclass(frozen=True)
class Track:
    """One object over the frames in which it exists.

    Attributes:
        name: Unique within its scene.
        category: nuScenes category name, e.g. ``'vehicle.car'``.
        size_wlh_m: Width, length, height.
        frames: (K,) indices into the scene's frames, increasing.
        center_m: (K, 3) box centre (not bottom), global frame.
        yaw_rad: (K,) heading, global frame.
    """

    name: str
    category: str
    size_wlh_m: tuple[float, float, float]
    frames: NDArrayInt
    center_m: NDArrayFloat
    yaw_rad: NDArrayFloat

    def __post_init__(self) -> None:
        k = len(self.frames)
        if self.center_m.shape != (k, 3) or self.yaw_rad.shape != (k,):
            raise ValueError(
                f"track '{self.name}': {k} frames need center_m ({k}, 3) and yaw_rad ({k},), "
                f'got {self.center_m.shape} and {self.yaw_rad.shape}'
            )


@dataclass(frozen=True)
class SceneLog:
    """One drive: key frames at 2 Hz, the ego's poses and every other object's track.

    Attributes:
        name: Scene name, unique in the data set.
        location: nuScenes location name of its map.
        split: ``'train'`` or ``'val'``.
        timestamps_us: (F,) key-frame times, microseconds.
        ego_xy_m: (F, 2) ego (centre of the rear axle on the ground), global frame.
        ego_yaw_rad: (F,) ego heading, global frame.
        tracks: All other objects.
    """

    name: str
    location: str
    split: str
    timestamps_us: NDArrayInt
    ego_xy_m: NDArrayFloat
    ego_yaw_rad: NDArrayFloat
    tracks: tuple[Track, ...] = field(default=())

    def __post_init__(self) -> None:
        f = len(self.timestamps_us)
        if self.ego_xy_m.shape != (f, 2) or self.ego_yaw_rad.shape != (f,):
            raise ValueError(
                f"scene '{self.name}': {f} time stamps need ego_xy_m ({f}, 2) and ego_yaw_rad "
                f'({f},), got {self.ego_xy_m.shape} and {self.ego_yaw_rad.shape}'
            )
