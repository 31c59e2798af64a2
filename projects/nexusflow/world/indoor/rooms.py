# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Plans a furnished room and where the camera stands in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from nexusflow.world.indoor import furniture, materials, things
from nexusflow.world.indoor.arrange import Arranger
from nexusflow.world.indoor.camera import Camera
from nexusflow.world.indoor.cast import cast_image
from nexusflow.world.indoor.solids import Color, Floats, Light, Scene, Solid, block
from nexusflow.world.indoor.spec import CLASSES, label_of

Rng = np.random.Generator
Maker = Callable[[Rng], list[Solid]]
_WALL_M = 0.1
_POSES = 40


@dataclass(frozen=True)
class _Kind:
    """What a kind of room holds: makers with the chance of each, in the order of placing."""

    standing: tuple[tuple[Maker, float], ...]
    hanging: tuple[tuple[Maker, float], ...]
    middle: Maker | None
    chairs: int = 0


_KINDS: Final[dict[str, _Kind]] = {
    'bedroom': _Kind(
        (
            (furniture.bed, 1.0),
            (furniture.wardrobe, 0.6),
            (furniture.dresser, 0.9),
            (furniture.dresser, 0.6),
            (furniture.desk, 0.5),
            (furniture.tv_stand, 0.35),
            (furniture.bookcase, 0.5),
            (furniture.chair, 0.6),
            (furniture.sofa, 0.2),
        ),
        ((things.wall_tv, 0.2), (things.wall_shelf, 0.4)),
        None,
    ),
    'living room': _Kind(
        (
            (furniture.sofa, 1.0),
            (furniture.tv_stand, 0.85),
            (furniture.bookcase, 0.7),
            (furniture.sofa, 0.7),
            (furniture.dresser, 0.5),
            (furniture.chair, 0.4),
        ),
        ((things.wall_tv, 0.2), (things.wall_shelf, 0.3)),
        furniture.coffee_table,
    ),
    'office': _Kind(
        (
            (furniture.desk, 1.0),
            (furniture.bookcase, 0.9),
            (furniture.desk, 0.6),
            (furniture.wardrobe, 0.5),
            (furniture.dresser, 0.5),
            (furniture.sofa, 0.3),
            (furniture.chair, 0.8),
        ),
        ((things.wall_tv, 0.25), (things.wall_shelf, 0.6)),
        furniture.table,
        2,
    ),
    'dining room': _Kind(
        (
            (furniture.dresser, 0.9),
            (furniture.wardrobe, 0.4),
            (furniture.bookcase, 0.6),
            (furniture.sofa, 0.4),
            (furniture.tv_stand, 0.4),
            (furniture.bed, 0.15),
        ),
        ((things.wall_tv, 0.15), (things.wall_shelf, 0.5)),
        furniture.table,
        4,
    ),
}
_SHARES: Final = {'bedroom': 0.34, 'living room': 0.28, 'office': 0.2, 'dining room': 0.18}
#: How much the camera likes to see a class; rare ones more.
_INTEREST: Final = {'bed': 1.5, 'books': 1.5, 'tv': 1.5, 'window': 1.2, 'picture': 1.2, 'sofa': 1.5}


def plan_room(rng: Rng, image_size_wh: tuple[int, int]) -> tuple[Scene, Camera]:
    """A room at random, and a camera that sees something of it."""
    kind = _KINDS[str(rng.choice(list(_SHARES), p=list(_SHARES.values())))]
    scene = _empty_room(rng)
    arranger = Arranger(scene, rng)
    _furnish(scene, arranger, kind, rng)
    _illuminate(scene, rng)
    return scene, _choose_camera(scene, arranger, rng, image_size_wh)


def _empty_room(rng: Rng) -> Scene:
    lx, ly, lz = rng.uniform(3.0, 5.6), rng.uniform(3.0, 5.6), rng.uniform(2.35, 2.9)
    t, paint = _WALL_M, materials.wall_paint(rng)
    accent = materials.wall_paint(rng) if rng.uniform() < 0.3 else paint
    wall = label_of('wall')
    shell = [
        block(label_of('floor'), materials.flooring(rng), (-t, lx + t), (-t, ly + t), (-t, 0.0)),
        block(
            label_of('ceiling'),
            materials.ceiling_paint(rng),
            (-t, lx + t),
            (-t, ly + t),
            (lz, lz + t),
        ),
        block(wall, accent, (-t, lx + t), (-t, 0.0), (0.0, lz)),
        block(wall, paint, (lx, lx + t), (0.0, ly), (0.0, lz)),
        block(wall, paint, (-t, lx + t), (ly, ly + t), (0.0, lz)),
        block(wall, paint, (-t, 0.0), (0.0, ly), (0.0, lz)),
    ]
    return Scene((lx, ly, lz), shell)


def _furnish(scene: Scene, arranger: Arranger, kind: _Kind, rng: Rng) -> None:
    lz = scene.size[2]
    if rng.uniform() < 0.4:
        _corner_pillar(scene, arranger, rng)
    for _ in range(int(rng.integers(1, 4))):
        arranger.on_wall(things.window(rng), (1.45, lz - 0.8))
    for maker, chance in kind.standing:
        if rng.uniform() < chance:
            arranger.along_wall(maker(rng))
    if kind.middle is not None:
        piece = kind.middle(rng)
        at = arranger.in_the_middle(piece)
        if at is not None and kind.chairs:
            arranger.around(piece, at, furniture.chair(rng), int(rng.integers(1, kind.chairs + 1)))
    if rng.uniform() < 0.4:
        arranger.in_the_middle(furniture.rug(rng), solid=False)
    for maker, chance in kind.hanging:
        if rng.uniform() < chance:
            arranger.on_wall(maker(rng), (1.4, 1.8))
    for _ in range(int(rng.integers(1, 6))):
        arranger.on_wall(things.picture(rng), (1.4, 1.9))
    for maker in (things.plant, things.floor_lamp, things.crate, things.crate):
        if rng.uniform() < 0.5:
            arranger.along_wall(maker(rng))


def _corner_pillar(scene: Scene, arranger: Arranger, rng: Rng) -> None:
    """A shaft along a wall, so that not every room is a plain box."""
    w, d = rng.uniform(0.15, 0.5), rng.uniform(0.15, 0.6)
    paint = scene.shell[-1].material
    arranger.along_wall([block(label_of('wall'), paint, (-w, w), (0.0, d), (0.0, scene.size[2]))])


def _illuminate(scene: Scene, rng: Rng) -> None:
    """A lamp below the ceiling, daylight from the windows."""
    lx, ly, lz = scene.size
    x, y = rng.uniform(0.3, 0.7, 2) * (lx, ly)
    lamp = rng.uniform(0.6, 1.6)
    scene.lights.append(Light((x, y, lz - 0.25), (lamp, 0.93 * lamp, 0.8 * lamp)))
    pane, day = label_of('window'), rng.uniform(0.2, 0.9)
    for solid in scene.solids:
        if solid.label == pane and solid.half[2] > 0.1:
            inward = np.array([-math.sin(solid.yaw), math.cos(solid.yaw), 0.0]) * 0.3
            cx, cy, cz = (np.asarray(solid.center) + inward).tolist()
            scene.lights.append(Light((cx, cy, cz), (0.85 * day, 0.95 * day, 1.1 * day)))
    if rng.uniform() < 0.3 and len(scene.lights) > 1:
        scene.lights = scene.lights[1:] + scene.lights[:1]
    level = rng.uniform(0.28, 0.5)
    warm = rng.uniform(-0.06, 0.06)
    ambient: Color = (level * (1 + warm), level, level * (1 - warm))
    scene.ambient = ambient


def _choose_camera(
    scene: Scene, arranger: Arranger, rng: Rng, image_size_wh: tuple[int, int]
) -> Camera:
    """Of some poses the one with the most to see that nothing blocks."""
    poses = [_pose(scene, arranger, rng, image_size_wh) for _ in range(_POSES)]
    poses.sort(key=lambda camera: -_interest(camera, scene) + rng.uniform(0.0, 1.5))
    for camera in poses:
        if _is_open(camera, scene):
            return camera
    return poses[0]


def _pose(scene: Scene, arranger: Arranger, rng: Rng, image_size_wh: tuple[int, int]) -> Camera:
    lx, ly, _ = scene.size
    point = np.array([lx / 2, ly / 2, 1.5])
    for _ in range(10):
        point = np.array([*(rng.uniform(0.08, 0.92, 2) * (lx, ly)), rng.uniform(1.1, 1.75)])
        if arranger.free(point, 0.3):
            break
    target = rng.uniform(0.2, 0.8, 2) * (lx, ly) - point[:2]
    yaw = math.atan2(target[1], target[0])
    x, y, z = point.tolist()
    pitch, roll = rng.normal(-0.14, 0.12), rng.normal(0.0, 0.025)
    return Camera((x, y, z), yaw, pitch, roll, image_size_wh)


def _interest(camera: Camera, scene: Scene) -> float:
    """The sum over the classes with a solid whose middle is in view at a good distance."""
    width, height = camera.image_size_wh
    centers: Floats = np.array([solid.center for solid in scene.solids])
    pixels, depth = camera.project(centers)
    inside = (pixels > 0.05 * width) & (pixels < (0.95 * width, 0.95 * height))
    seen = inside.all(axis=1) & (depth > 0.7)
    names = {
        CLASSES[solid.label] for solid, is_seen in zip(scene.solids, seen, strict=True) if is_seen
    }
    return sum(_INTEREST.get(name, 1.0) for name in sorted(names))


def _is_open(camera: Camera, scene: Scene) -> bool:
    """Whether nothing stands close before the camera."""
    coarse = Camera(camera.position, camera.yaw, camera.pitch, camera.roll, (16, 12))
    depth = cast_image(coarse, scene.everything()).depth
    return bool(depth.min() > 0.45 and np.median(depth) > 1.4 and np.isfinite(depth).all())
