# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The made-up batches hold together: one world seen from every frame."""

import numpy as np
import pytest
import torch

from nexusflow.geometry.boxes import boxes_to_global, velocity_to_global
from nexusflow.testing import SECONDS_PER_FRAME, make_clip_batch, make_rig


@pytest.fixture(scope='module')
def data():
    return make_clip_batch(batch=2, frames=3, image_hw=(32, 64), seed=3)


def test_format(data):
    assert [img.shape for img in data['inputs']['img']] == [(3, 6, 3, 32, 64)] * 2
    assert data['inputs']['img'][0].dtype == torch.uint8
    assert [len(samples) for samples in data['data_samples']] == [2, 2, 2]
    sample = data['data_samples'][2][1]
    assert (sample.scene_token, sample.frame_idx, sample.time_s) == ('clip1', 2, 1.0)
    assert sample.tasks == ('map', 'track')
    assert sample.img_shape == (32, 64)
    assert sample.lidar2global.dtype == np.float64
    identity = np.broadcast_to(np.eye(4), (6, 4, 4))
    np.testing.assert_allclose(sample.lidar2img @ sample.img2lidar, identity, atol=1e-9)
    np.testing.assert_array_equal(sample.lidar2img, make_rig((32, 64)))
    assert sample.gt_instances_3d.bboxes_3d.tensor.shape[1] == 9
    assert sample.gt_map.pts_m.shape[1:] == (20, 2)
    assert len(sample.gt_map) > 0


def test_objects_move_with_constant_velocity_in_the_world(data):
    tracks = {}
    for t, samples in enumerate(data['data_samples']):
        gt, pose = samples[0].gt_instances_3d, samples[0].lidar2global
        boxes = gt.bboxes_3d.tensor.double()
        boxes[:, :3] = gt.bboxes_3d.gravity_center
        placed = boxes_to_global(boxes[:, :7], pose)
        velocity = velocity_to_global(boxes[:, 7:], pose)
        for box, speed, track in zip(placed, velocity, gt.instance_ids.tolist(), strict=True):
            tracks.setdefault(track, []).append((t, box, speed))
    assert {len(seen) for seen in tracks.values()} == {1, 2, 3}
    for seen in tracks.values():
        for (t, box, speed), (u, later, _) in zip(seen, seen[1:], strict=False):
            shift = np.nan_to_num(speed) * (u - t) * SECONDS_PER_FRAME
            if np.isfinite(speed).all():
                np.testing.assert_allclose(later[:2], box[:2] + shift, atol=1e-3)
            np.testing.assert_allclose(later[3:], box[3:], atol=1e-4)
            assert later[2] == pytest.approx(box[5] / 2, abs=1e-3)


def test_lines_lie_still_in_the_world(data):
    first, second = (samples[0] for samples in data['data_samples'][:2])
    curr2prev = np.linalg.inv(first.lidar2global) @ second.lidar2global
    for points, label in zip(second.gt_map.pts_m.numpy(), second.gt_map.labels, strict=True):
        moved = points @ curr2prev[:2, :2].T + curr2prev[:2, 3]
        same = first.gt_map.pts_m[first.gt_map.labels == label].numpy()
        assert np.abs(same - moved).max((1, 2)).min() < 1e-3


def test_some_velocity_is_unknown(data):
    velocity = data['data_samples'][0][0].gt_instances_3d.bboxes_3d.tensor[:, 7:]
    assert velocity.isnan().all(1).sum() == 1


def test_seeds_repeat_and_differ(data):
    again = make_clip_batch(batch=2, frames=3, image_hw=(32, 64), seed=3)
    other = make_clip_batch(batch=2, frames=3, image_hw=(32, 64), seed=4)
    assert torch.equal(again['inputs']['img'][1], data['inputs']['img'][1])
    assert not torch.equal(other['inputs']['img'][1], data['inputs']['img'][1])


def test_ids_of_clips_differ(data):
    ids = [set(sample.gt_instances_3d.instance_ids.tolist()) for sample in data['data_samples'][0]]
    assert not ids[0] & ids[1]


def test_tasks_for_each_clip():
    tasks = [('map',), ('track',), ()]
    samples = make_clip_batch(batch=3, frames=1, image_hw=(32, 32), tasks=tasks)['data_samples']
    assert [sample.tasks for sample in samples[0]] == tasks
    with pytest.raises(ValueError, match='tasks'):
        make_clip_batch(batch=2, image_hw=(32, 32), tasks=tasks)
