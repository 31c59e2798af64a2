# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Pictures and projections move together."""

import numpy as np
import pytest
import torch

from nexusflow.datasets.transforms import NexusImageAug
from nexusflow.datasets.transforms.colour import colour_matrix
from nexusflow.datasets.transforms.image_aug import warp
from nexusflow.datasets.transforms.pixels import scale_pixels
from nexusflow.geometry.frames import camera_matrix, project_points

AUG = {
    'size_hw': (60, 120),
    'scale_range': (0.8, 1.3),
    'crop_top_range': (0.0, 1.0),
    'crop_left_range': (0.0, 1.0),
    'flip_prob': 0.5,
}
COLOUR = {'brightness': 30, 'contrast': 0.3, 'saturation': 0.3, 'hue_deg': 10}


def blob(height, width, u, v, sigma=4.0):
    """An image with one bright spot; pixel j covers [j, j + 1)."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    value = 250 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * sigma**2))
    return np.repeat(value[..., None], 3, axis=2).astype(np.uint8)


def centre(image):
    """Centre of the brightness, (u, v)."""
    weight = image[..., 0].astype(float)
    x, y = np.meshgrid(np.arange(image.shape[1]) + 0.5, np.arange(image.shape[0]) + 0.5)
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def camera_clip(num_frames=2, height=90, width=160):
    """Cameras that see the same points; a blob where each projects its point."""
    lidar2cam = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    lidar2img = camera_matrix([[90.0, 0, 80], [0, 90, 45], [0, 0, 1]], lidar2cam)
    points = np.array([[0.4, 10.0, 0.3], [-1.0, 12.0, -0.5], [1.5, 9.0, 0.0]])
    frames = []
    for _ in range(num_frames):
        uv, _ = project_points(lidar2img, points)
        matrices = np.repeat(lidar2img[None], len(points), axis=0)
        frames.append(
            {
                'imgs': [blob(height, width, *p) for p in uv],
                'lidar2img': matrices,
                'ori_lidar2img': matrices.copy(),
            }
        )
    return {'frames': frames}, points


@pytest.mark.parametrize('seed', range(6))
def test_spots_stay_where_their_points_project(seed):
    torch.manual_seed(seed)
    clip, points = camera_clip()
    num_inside = 0
    for frame in NexusImageAug(**AUG)(clip)['frames']:
        for image, lidar2img, point in zip(frame['imgs'], frame['lidar2img'], points, strict=True):
            assert image.shape == (60, 120, 3)
            (uv,), _ = project_points(lidar2img, point[None])
            if 12 < uv[0] < 108 and 12 < uv[1] < 48:
                assert np.abs(centre(image) - uv).max() < 0.2
                num_inside += 1
    assert num_inside == 6


def test_strong_shrinking_is_exact_too():
    image = blob(1000, 1500, 700.0, 420.0, sigma=40.0)
    for scale in (0.13, 0.31, 0.5, 0.9):
        pixel_map = scale_pixels(scale, scale)
        size = (int(1000 * scale), int(1500 * scale))
        np.testing.assert_allclose(
            centre(warp(image, pixel_map, size)), [700 * scale, 420 * scale], atol=0.1
        )


def test_clip_shares_its_draws():
    torch.manual_seed(3)
    clip, _ = camera_clip(num_frames=3)
    first, *others = NexusImageAug(**AUG, colour=COLOUR)(clip)['frames']
    for frame in others:
        np.testing.assert_array_equal(frame['lidar2img'], first['lidar2img'])
        np.testing.assert_array_equal(frame['imgs'], first['imgs'])
    assert not np.allclose(first['lidar2img'][0], first['lidar2img'][1]), 'cameras draw apart'


def test_same_seed_same_images():
    out = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        out.append(NexusImageAug(**AUG, colour=COLOUR)(camera_clip()[0])['frames'][0])
    np.testing.assert_array_equal(out[0]['imgs'], out[1]['imgs'])
    np.testing.assert_array_equal(out[0]['lidar2img'], out[1]['lidar2img'])
    assert not np.array_equal(out[0]['imgs'], out[2]['imgs'])


def test_deterministic_version_takes_the_middle():
    aug = NexusImageAug((45, 160), crop_top_range=(0.6, 1.0), flip_prob=1.0, deterministic=True)
    frame = aug(camera_clip()[0])['frames'][0]
    expected = np.eye(4)
    expected[1, 2] = -36
    np.testing.assert_allclose(frame['lidar2img'][0], expected @ frame['ori_lidar2img'][0])
    state = torch.get_rng_state()
    aug(camera_clip()[0])
    assert torch.equal(state, torch.get_rng_state())


def test_unchanged_size_keeps_the_pixels():
    clip, _ = camera_clip(1)
    before = np.stack(clip['frames'][0]['imgs'])
    frame = NexusImageAug((90, 160), deterministic=True)(clip)['frames'][0]
    np.testing.assert_array_equal(frame['imgs'], before)
    np.testing.assert_array_equal(frame['lidar2img'], frame['ori_lidar2img'])


def test_missing_pixels_are_black():
    frame = NexusImageAug((200, 160), scale_range=(0.5, 0.5), deterministic=True)(
        {'frames': [{'imgs': [np.full((90, 160, 3), 200, np.uint8)], 'lidar2img': np.eye(4)[None]}]}
    )['frames'][0]
    assert frame['imgs'].shape == (1, 200, 160, 3)
    assert frame['imgs'][0, :90].max() == 0 and frame['imgs'][0, -2].min() == 200


def test_colour_limits():
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(colour_matrix(rng), np.eye(3, 4), atol=1e-9)
    grey = np.array([127.5, 127.5, 127.5, 1])
    for _ in range(50):
        np.testing.assert_allclose(
            colour_matrix(rng, contrast=0.5, saturation=0.5, hue_deg=30) @ grey, 127.5, atol=0.5
        )
        shift = colour_matrix(rng, brightness=20)[:, 3]
        assert np.ptp(shift) < 1e-9 and abs(shift[0]) <= 20
