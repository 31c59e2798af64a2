# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""From a collated batch to normalised images and clips."""

import torch

from nexusflow.models.data_preprocessor import NexusDataPreprocessor
from nexusflow.testing import make_clip_batch


def test_images_are_stacked_and_normalised():
    data = make_clip_batch(batch=2, frames=3, image_hw=(32, 64))
    raw = torch.stack(data['inputs']['img']).double()
    images = NexusDataPreprocessor()(data, training=True)['inputs']['img']
    assert images.shape == (2, 3, 6, 3, 32, 64)
    assert images.dtype == torch.float32
    for channel, (mean, std) in enumerate(((123.675, 58.395), (116.28, 57.12), (103.53, 57.375))):
        expected = ((raw[:, :, :, channel] - mean) / std).float()
        torch.testing.assert_close(images[:, :, :, channel], expected)


def test_samples_are_given_clip_by_clip():
    data = make_clip_batch(batch=2, frames=3, image_hw=(32, 64))
    clips = NexusDataPreprocessor()(data)['data_samples']
    assert [[s.token for s in clip] for clip in clips] == [
        [f'clip{b}-frame{t}' for t in range(3)] for b in range(2)
    ]


def test_labels_and_poses_pass_unchanged():
    data = make_clip_batch(batch=1, frames=1, image_hw=(32, 64))
    before = data['data_samples'][0][0]
    after = NexusDataPreprocessor()(data)['data_samples'][0][0]
    assert after.lidar2global.dtype == before.lidar2global.dtype
    assert (after.lidar2global == before.lidar2global).all()
    assert torch.equal(after.gt_instances_3d.instance_ids, before.gt_instances_3d.instance_ids)
    assert torch.equal(after.gt_map.pts_m, before.gt_map.pts_m)


def test_nothing_goes_into_checkpoints():
    assert not NexusDataPreprocessor().state_dict()
