# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import numpy as np
import pytest

from nexusflow.world.camera import CHANNELS, LIDAR2EGO, nuscenes_like_rig, project


def test_rig_is_that_of_nuscenes():
    rig = nuscenes_like_rig((1600, 900))
    assert tuple(c.channel for c in rig) == CHANNELS
    assert CHANNELS == (
        'CAM_FRONT',
        'CAM_FRONT_RIGHT',
        'CAM_FRONT_LEFT',
        'CAM_BACK',
        'CAM_BACK_LEFT',
        'CAM_BACK_RIGHT',
    )
    yaws = [np.rad2deg(np.arctan2(c.cam2ego[1, 2], c.cam2ego[0, 2])) for c in rig]
    np.testing.assert_allclose(np.abs(yaws), [0, 55, 55, 180, 110, 110])
    assert yaws[1] < 0 < yaws[2]
    assert yaws[5] < 0 < yaws[4]
    assert [c.cam2img[0, 0] for c in rig] == [1266, 1266, 1266, 809, 1266, 1266]
    for camera in rig:
        rotation = camera.cam2ego[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        np.testing.assert_allclose(camera.ego2cam @ camera.cam2ego, np.eye(4), atol=1e-12)
        assert 1.4 < camera.cam2ego[2, 3] < 1.7


def test_lidar_looks_forward_along_y():
    np.testing.assert_allclose(LIDAR2EGO @ [0, 10, 0, 1], [10.94, 0, 1.84, 1])
    np.testing.assert_allclose(LIDAR2EGO @ [1, 0, 0, 1], [0.94, -1, 1.84, 1])


def test_projection_of_known_points():
    front = nuscenes_like_rig((320, 180))[0]
    x, y, z = front.cam2ego[:3, 3]
    focal, (u0, v0) = front.cam2img[0, 0], front.cam2img[:2, 2]
    points = np.array([[x + 10, y, z], [x + 10, y - 1, z], [x + 10, y, z - 1], [x - 10, y, z]])
    uv, depth = project(points, front)
    np.testing.assert_allclose(depth, [10, 10, 10, -10])
    np.testing.assert_allclose(uv[0], [u0, v0])
    np.testing.assert_allclose(uv[1], [u0 + focal / 10, v0])
    np.testing.assert_allclose(uv[2], [u0, v0 + focal / 10])


def test_projection_scales_with_the_image():
    points = np.array([[20.0, 3.0, 1.0], [8.0, -2.0, 0.0]])
    small, large = (nuscenes_like_rig(size)[0] for size in ((320, 180), (1600, 900)))
    np.testing.assert_allclose(project(points, small)[0] * 5, project(points, large)[0])


def test_other_shapes_keep_the_lower_part_of_the_image():
    ground = np.array([[10.0, 1.0, 0.0]])
    whole, cropped = (nuscenes_like_rig(size)[0] for size in ((704, 396), (704, 256)))
    shift = project(ground, whole)[0] - project(ground, cropped)[0]
    np.testing.assert_allclose(shift, [[0, 140]])


def test_size_must_be_positive():
    with pytest.raises(ValueError, match='image_size_wh'):
        nuscenes_like_rig((0, 180))
