# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Reading images, whole ones only."""

import cv2
import numpy as np
import pytest

from nexusflow.datasets.transforms import NexusLoadMultiViewImages
from nexusflow.datasets.transforms.loading import read_image


def smooth(height, width):
    noise = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_colours_are_rgb(tmp_path, suffix):
    image = np.zeros((20, 30, 3), np.uint8)
    image[..., 2] = 200
    path = tmp_path / f'red.{suffix}'
    cv2.imwrite(str(path), image)
    np.testing.assert_allclose(read_image(path)[10, 15], [200, 0, 0], atol=3)


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_truncated_image_is_named(tmp_path, suffix):
    path = tmp_path / f'half.{suffix}'
    cv2.imwrite(str(path), smooth(90, 160))
    assert read_image(path).shape == (90, 160, 3)
    whole = path.read_bytes()
    for size in (len(whole) // 2, len(whole) - 10, 1, 0):
        path.write_bytes(whole[:size])
        with pytest.raises(
            ValueError, match=rf'half.{suffix} is truncated or no image \({size} bytes'
        ):
            read_image(path)


def test_missing_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'gone.jpg is missing: check data_root'):
        read_image(tmp_path / 'gone.jpg')


def test_reduced_images_keep_their_projection(tmp_path):
    path = tmp_path / 'a.jpg'
    cv2.imwrite(str(path), smooth(90, 160), [cv2.IMWRITE_JPEG_QUALITY, 100])
    frame = {'img_paths': [str(path)], 'ori_lidar2img': np.eye(4)[None]}
    out = NexusLoadMultiViewImages(reduce=2)({'frames': [frame]})['frames'][0]
    assert out['imgs'][0].shape == (45, 80, 3)
    np.testing.assert_allclose(out['lidar2img'][0], np.diag([0.5, 0.5, 1, 1]))
    full = read_image(path).astype(float)
    means = full.reshape(45, 2, 80, 2, 3).mean(axis=(1, 3))
    assert np.abs(out['imgs'][0] - means).mean() < 1.5
    with pytest.raises(ValueError, match=r'reduce is 3, it must be one of \[1, 2, 4\]'):
        NexusLoadMultiViewImages(reduce=3)
