# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Transforms of images with dense labels."""

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate

from nexusflow.datasets.transforms import (
    NexusDenseColour,
    NexusDenseFlip,
    NexusDenseResize,
    NexusDenseScaleCrop,
    NexusLabelEdges,
    NexusPackDense,
)

SIZE = (24, 36)


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)


@pytest.fixture
def results():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(*SIZE, 3))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    normal[:3] = 0
    return {
        'img': rng.random((*SIZE, 3)).astype(np.float32),
        'gt_sem_seg': rng.integers(-1, 13, SIZE),
        'gt_depth': rng.uniform(1, 5, SIZE).astype(np.float32),
        'gt_normal': normal.astype(np.float32),
        'sample_idx': 7,
        'img_path': 'train/image/7.npy',
        'tasks': ['depth'],
    }


def test_scale_crop_cuts_the_same_window_from_all(results):
    rows, columns = np.meshgrid(*map(np.arange, SIZE), indexing='ij')
    place = (rows * SIZE[1] + columns).astype(np.float32)
    results.update(img=np.stack([place] * 3, axis=-1), gt_depth=place + 1, gt_sem_seg=rows * 100)
    out = NexusDenseScaleCrop(scales=[1.5]).transform(results)
    assert out['img'].shape == (*SIZE, 3)
    corners = np.ix_((0, -1), (0, -1))
    # corners lie on corners in the image; nearest pixels repeat the first, not always the last
    np.testing.assert_allclose(out['img'][0, 0, 0] + 1, out['gt_depth'][0, 0] * 1.5, rtol=1e-5)
    assert out['gt_sem_seg'][0, 0] == 100 * (out['img'][0, 0, 0] // SIZE[1])
    span = out['img'][corners][..., 0]
    np.testing.assert_allclose(span[0, 1] - span[0, 0], 23, rtol=1e-5)
    np.testing.assert_allclose(span[1, 0] - span[0, 0], 15 * SIZE[1], rtol=1e-5)
    assert out['gt_sem_seg'].dtype == np.int64 and out['gt_depth'].dtype == np.float32


def test_flip_mirrors_and_turns_the_normals(results):
    before = {k: v.copy() for k, v in results.items() if isinstance(v, np.ndarray)}
    out = NexusDenseFlip(prob=1.0).transform(results)
    for key in ('img', 'gt_sem_seg', 'gt_depth'):
        np.testing.assert_array_equal(out[key], before[key][:, ::-1])
    np.testing.assert_array_equal(out['gt_normal'], before['gt_normal'][:, ::-1] * (-1, 1, 1))
    again = NexusDenseFlip(prob=0.0).transform(dict(out))
    assert again['img'] is out['img']


def test_resize_keeps_labels_whole_and_normals_of_unit_length(results):
    label, depth = results['gt_sem_seg'].copy(), results['gt_depth'].copy()
    image = results['img'].copy()
    out = NexusDenseResize((12, 18)).transform(results)
    np.testing.assert_array_equal(out['gt_sem_seg'], label[1::2, 1::2])
    np.testing.assert_array_equal(out['gt_depth'], depth[1::2, 1::2])
    means = image.reshape(12, 2, 18, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(out['img'], means, atol=1e-6)
    length = np.linalg.norm(out['gt_normal'], axis=-1)
    np.testing.assert_allclose(length[1:], 1, atol=1e-5)
    assert (length[0] == 0).all()
    grown = NexusDenseResize((24, 36)).transform(out)
    assert grown['gt_normal'].shape == (24, 36, 3)


def test_colour_changes_the_image_only_and_stays_in_range(results):
    before, image = results['gt_depth'].copy(), results['img'].copy()
    out = NexusDenseColour(brightness=100, contrast=0.5).transform(results)
    assert np.abs(out['img'] - image).max() > 0.05
    assert out['img'].dtype == np.float32 and 0 <= out['img'].min() <= out['img'].max() <= 1
    np.testing.assert_array_equal(out['gt_depth'], before)
    np.testing.assert_allclose(
        NexusDenseColour().transform({'img': image})['img'], image, atol=1e-6
    )


def test_edges_lie_between_classes_and_not_at_unknown_pixels():
    label = np.array([[1, 1, 2, 2], [1, 1, 2, -1], [3, 3, 3, 3]])
    out = NexusLabelEdges().transform({'gt_sem_seg': label})
    want = [[0, 1, 0, 0], [1, 1, 1, -1], [0, 0, 0, 0]]
    np.testing.assert_array_equal(out['gt_edge'], want)


def test_packing(results):
    results['gt_edge'] = np.zeros(SIZE, np.float32)
    image = results['img']
    item = NexusPackDense().transform(results)
    batch = pseudo_collate([item, item])
    assert [img.shape for img in batch['inputs']['img']] == [(3, *SIZE)] * 2
    sample = batch['data_samples'][1]
    np.testing.assert_array_equal(batch['inputs']['img'][0][2], image[..., 2])
    assert sample.gt_sem_seg.data.shape == (1, *SIZE)
    assert sample.gt_normal.data.shape == (3, *SIZE)
    assert sample.gt_edge.data.shape == (1, *SIZE)
    assert sample.tasks == ('depth',) and sample.token == '7' and sample.img_shape == SIZE


def test_packing_names_labels_that_missed_a_resize(results):
    results['gt_edge'] = np.zeros((3, 3), np.float32)
    with pytest.raises(ValueError, match="'7'.*'gt_edge'.*kinds"):
        NexusPackDense().transform(results)
