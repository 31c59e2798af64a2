# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Faces on canvases, checked against the projection of single points."""

import numpy as np
import pytest

from nexusflow.world.camera import nuscenes_like_rig, project
from nexusflow.world.drawing import SHIFT
from nexusflow.world.view import NEAR_M, Views, project_faces

RIG = nuscenes_like_rig((320, 180))
POSE = np.array([[0.6, -0.8, 0, 40.0], [0.8, 0.6, 0, -7.0], [0, 0, 1, 0], [0, 0, 0, 1]])


def _square(x, y, side=2.0):
    """An upright square across the ego's x axis, ego frame."""
    half = side / 2
    return np.array([(x, y - half, 0), (x, y + half, 0), (x, y + half, side), (x, y - half, side)])


def _projected(corners_ego, camera):
    views = Views.of_rig(RIG, 2).moved(POSE)
    corners = corners_ego @ POSE[:3, :3].T + POSE[:3, 3]
    view = np.array([camera])
    return project_faces(views.to_camera(view, corners[None]), view, views)


@pytest.mark.parametrize('camera', range(6))
def test_corners_are_where_the_camera_projects_them(camera):
    forward = RIG[camera].cam2ego[:3, 2]
    corners = _square(0.0, 0.0) + RIG[camera].cam2ego[:3, 3] * (1, 1, 0) + 9.0 * forward
    corners += np.cross([0, 0, 1], forward) * np.array([1, 0.5, 0.5, 1])[:, None]
    faces = _projected(corners, camera)
    uv, _ = project(corners, RIG[camera])
    np.testing.assert_allclose(faces.polygons[0] / 2**SHIFT, 2 * uv - 0.5, atol=0.04)
    x0, y0, x1, y1 = faces.boxes[0]
    inside = np.clip(2 * uv, 0, (640, 360))
    assert x0 <= inside[:, 0].min() and inside[:, 0].max() <= x1
    assert y0 <= inside[:, 1].min() and inside[:, 1].max() <= y1


def test_faces_behind_or_beside_the_camera_are_left_out():
    assert len(_projected(_square(-5.0, 0.0), 0).kept) == 0
    assert len(_projected(_square(10.0, 30.0), 0).kept) == 0
    assert _projected(_square(10.0, 0.0), 0).kept.tolist() == [0]


def test_faces_are_cut_at_the_near_plane():
    front = RIG[0].cam2ego[0, 3]
    floor = np.array([(front - 3, 1, 0), (front - 3, -1, 0), (front + 8, -1, 0), (front + 8, 1, 0)])
    (polygon,) = _projected(floor, 0).polygons
    uv, _ = project(np.array([(front + NEAR_M, 1, 0), (front + NEAR_M, -1, 0), *floor[2:]]), RIG[0])
    found = sorted((polygon / 2**SHIFT).round(1).tolist())
    np.testing.assert_allclose(found, sorted((2 * uv - 0.5).round(1).tolist()), atol=0.11)


def test_cylinders_touch_the_view_or_do_not():
    views = Views.of_rig(RIG, 2)
    center = np.array([[12.0, 0.0, 0.0], [-12.0, 0.0, 0.0], [1.0, 40.0, 0.0]])
    seen = views.sees(center, np.ones(3))
    names = [camera.channel for camera in RIG]
    assert seen[names.index('CAM_FRONT')].tolist() == [True, False, False]
    assert seen[names.index('CAM_BACK')].tolist() == [False, True, False]
    wide = views.sees(center, np.full(3, 60.0))
    assert wide.all(), 'whatever reaches beyond a camera is seen by it'
