# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The tracker of a robot's loop: the same as prediction over clips, for as long as it runs."""

import gc
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from mmengine.config import Config

from nexusflow.evaluation.metrics.arrays import box_arrays, to_numpy
from nexusflow.testing import make_clip_batch
from nexusflow.tracker import Tracker
from nexusflow.world.camera import LIDAR2EGO, nuscenes_like_rig

SIZE = (32, 64)
FRAMES = 4
PIPELINE = [
    dict(type='NexusLoadMultiViewImages'),
    dict(type='NexusImageAug', size_hw=SIZE, deterministic=True),
    dict(type='NexusPackClip'),
]


@pytest.fixture(scope='module')
def files(small_config, small_model, tmp_path_factory):
    """Configuration and checkpoint of a model that has been trained with a regulariser."""
    folder = tmp_path_factory.mktemp('tracker')
    torch.save(dict(state_dict=small_model(regulariser=True).state_dict()), folder / 'x.pth')
    lifecycle = dict(birth_score=0.0, keep_score=0.0, patience=100)
    model = dict(small_config(regulariser=True), lifecycle=lifecycle)
    config = Config(dict(model=model, test_dataloader=dict(dataset=dict(pipeline=PIPELINE))))
    config.dump(folder / 'x.py')
    return str(folder / 'x.py'), str(folder / 'x.pth')


@pytest.fixture
def tracker(files):
    return Tracker.from_config(*files, device='cpu')


@pytest.fixture
def drive():
    """What a robot would give: images by channel, cameras, ego pose, time of each frame."""
    data = make_clip_batch(1, FRAMES, SIZE)
    rig = nuscenes_like_rig((SIZE[1], SIZE[0]))
    steps = []
    for t, (sample,) in enumerate(data['data_samples']):
        views = data['inputs']['img'][0][t].permute(0, 2, 3, 1).numpy()
        images = {camera.channel: view for camera, view in zip(rig, views, strict=True)}
        pose = sample.lidar2global @ np.linalg.inv(LIDAR2EGO)
        steps.append((images, rig, pose, 1.5e9 + sample.time_s))
    return data, steps


def test_steps_equal_prediction_over_the_clip(tracker, drive):
    data, steps = drive
    found = [tracker.step(*step) for step in steps]
    tracker.reset()
    expected = tracker.model.test_step(data)
    assert [result.time_s for result in found] == [step[3] for step in steps]
    for result, sample in zip(found, expected, strict=True):
        tracks, lines = sample.pred_instances_3d, sample.pred_map
        arrays = box_arrays(tracks.bboxes_3d)
        assert len(result.ids) >= 10
        assert result.ids.tolist() == tracks.track_ids.tolist()
        np.testing.assert_allclose(result.boxes, arrays.boxes, atol=1e-4)
        np.testing.assert_allclose(result.velocity, arrays.velocity, atol=1e-4)
        np.testing.assert_allclose(result.scores, to_numpy(tracks.scores_3d), atol=1e-5)
        np.testing.assert_allclose(result.lines, to_numpy(lines.pts_m), atol=1e-3)
        np.testing.assert_allclose(result.line_scores, to_numpy(lines.scores), atol=1e-5)
        np.testing.assert_allclose(result.lidar2global, sample.lidar2global, atol=1e-6)
        assert len(result.names) == len(result.ids)
        assert set(result.names) <= {
            'car',
            'truck',
            'bus',
            'trailer',
            'pedestrian',
            'motorcycle',
            'bicycle',
        }
        assert set(result.line_names) <= {'divider', 'ped_crossing', 'boundary'}


def test_a_reset_forgets_everything(tracker, drive):
    _, steps = drive
    first = [tracker.step(*step) for step in steps[:2]]
    with pytest.raises(ValueError, match=r'is not after the last frame at 150.*reset\(\)'):
        tracker.step(*steps[1])
    tracker.reset()
    again = [tracker.step(*step) for step in steps[:2]]
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.boxes, b.boxes) and np.array_equal(a.ids, b.ids)
    assert first[1].ids.max() >= first[0].ids.max()


def test_a_camera_may_be_missing_and_a_frame_may_be_dropped(tracker, drive):
    _, steps = drive
    first = tracker.step(*steps[0])
    images, *rest = steps[2]
    partial = {channel: image for channel, image in images.items() if channel != 'CAM_BACK'}
    partial['CAM_FRONT'] = None
    result = tracker.step(partial, *rest)
    assert np.isfinite(result.boxes).all()
    assert set(first.ids) <= set(result.ids)


def test_larger_images_are_brought_to_the_size_of_the_model(tracker, drive):
    """The same scene seen with four times the pixels is the same scene."""
    _, steps = drive
    images, _, pose, time_s = steps[0]
    smooth = {
        channel: np.full_like(image, 40 * i) for i, (channel, image) in enumerate(images.items())
    }
    large = {channel: image.repeat(2, 0).repeat(2, 1) for channel, image in smooth.items()}
    a = tracker.step(smooth, steps[0][1], pose, time_s)
    tracker.reset()
    b = tracker.step(large, nuscenes_like_rig((2 * SIZE[1], 2 * SIZE[0])), pose, time_s)
    np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-3)
    np.testing.assert_allclose(a.lines, b.lines, atol=1e-3)


def test_wrong_input_is_named(tracker, drive):
    _, steps = drive
    images, cameras, pose, time_s = steps[0]
    with pytest.raises(ValueError, match="'CAM_FRONT', but cameras has no calibration"):
        tracker.step(images, cameras[1:], pose, time_s)
    with pytest.raises(ValueError, match='no camera has an image'):
        tracker.step({}, cameras, pose, time_s)
    wrong = images | {'CAM_BACK': images['CAM_BACK'][:-1]}
    with pytest.raises(
        ValueError, match=r"'CAM_BACK' is uint8 \(31, 64, 3\).* uint8 \(32, 64, 3\)"
    ):
        tracker.step(wrong, cameras, pose, time_s)
    with pytest.raises(ValueError, match="'CAM_BACK' is float32"):
        tracker.step(
            images | {'CAM_BACK': np.zeros((32, 64, 3), np.float32)}, cameras, pose, time_s
        )


def test_a_checkpoint_of_another_model_is_refused(files, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.pth' does not exist"):
        Tracker.from_config(files[0], 'nowhere.pth')
    torch.save({'state_dict': {'other.weight': torch.zeros(1)}}, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=r'does not fit the model of .*x\.py'):
        Tracker.from_config(files[0], str(tmp_path / 'other.pth'))


def live_tensors():
    """Number and bytes of the tensors alive."""
    gc.collect()
    sizes = [x.nbytes for x in gc.get_objects() if isinstance(x, torch.Tensor)]
    return len(sizes), sum(sizes)


def test_the_three_hundredth_frame_costs_what_the_fiftieth_did(tracker, drive, operations):
    """Every query gives birth, and tracks end only at their bound: the worst case of a crowd that never ends.

    ``tools/benchmark.py stream`` measures a thousand frames.
    """
    _, steps = drive
    tracker.model.track_head.motion.gate = 0.0
    tracker.model.lifecycle.max_tracks = 20
    tracker.model.lifecycle.duplicate_m = 0.0
    images, cameras, pose, time_s = steps[0]
    images = {'CAM_FRONT': images['CAM_FRONT']}
    tensors, work = {}, {}
    for i in range(300):
        step = partial(tracker.step, images, cameras, pose, time_s + 0.5 * i)
        if i in (49, 299):
            tensors[i], work[i] = live_tensors(), Counter(operations(step))
        else:
            result = step()
            assert len(result.ids) <= 20
    assert tensors[49] == tensors[299]
    assert work[49] == work[299]
    assert result.ids.max() > 200
