# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Renders one room: the four arrays of a sample.

Normals are in the camera frame with x right, y up, z towards the camera: a wall that faces the camera
has (0, 0, 1), a level floor (0, 1, 0). Which axes the published NYUv2 normals have is not
documented with them; losses and metrics do not depend on it, a horizontal flip negates x in both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nexusflow.world.indoor.camera import Camera
from nexusflow.world.indoor.cast import cast_image
from nexusflow.world.indoor.light import shade
from nexusflow.world.indoor.rooms import plan_room
from nexusflow.world.indoor.sensor import develop, no_depth, no_label
from nexusflow.world.indoor.solids import Floats, Scene
from nexusflow.world.indoor.surface import surfaces

#: Camera directions (x right, y down, z forward) to those of the normals (x right, y up, z back).
NORMAL_AXES = np.array([1.0, -1.0, -1.0])


class Sample(NamedTuple):
    """The arrays of a sample, as they are written.

    Attributes:
        image: (H, W, 3) float16 RGB in [0, 1].
        label: (H, W) int8 class; -1: not labelled.
        depth: (H, W, 1) float32 metres along the optical axis; 0: not measured.
        normal: (H, W, 3) float32 unit vectors; zero: not measured. Half precision would make an
            exact prediction wrong by up to a degree, as angles are taken from the cosine.
    """

    image: Floats
    label: NDArray[np.int8]
    depth: Floats
    normal: Floats


def render_sample(seed: tuple[int, ...], image_size_wh: tuple[int, int]) -> Sample:
    """The sample that a seed means."""
    rng = np.random.default_rng(seed)
    scene, camera = plan_room(rng, image_size_wh)
    return render(scene, camera, rng)


def render(scene: Scene, camera: Camera, rng: np.random.Generator) -> Sample:
    """Takes a picture of a room.

    Args:
        scene: The room.
        camera: Where it is taken from.
        rng: Of the sensor's noise and holes.

    Raises:
        ValueError: If the camera sees out of the room.
    """
    solids = scene.everything()
    hits = cast_image(camera, solids)
    surface = surfaces(camera, solids, hits)
    label = np.array([solid.label for solid in solids], np.int8)[hits.number]
    normal = (surface.normals @ camera.rotation()) * NORMAL_AXES
    toward = np.asarray(camera.position) - surface.points
    facing = (toward * surface.normals).sum(axis=-1) / np.linalg.norm(toward, axis=-1)
    unmeasured = no_depth(hits.depth, label, facing, rng)
    unlabelled = no_label(hits.depth, label)
    return Sample(
        image=develop(shade(scene, surface), rng).astype(np.float16),
        label=np.where(unlabelled, np.int8(-1), label),
        depth=np.where(unmeasured, np.float32(0.0), hits.depth)[..., None],
        normal=np.where(unmeasured[..., None], 0.0, normal).astype(np.float32),
    )
