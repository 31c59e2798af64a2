# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The hook that draws test samples."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from mmdet3d.registry import DATASETS, HOOKS
from mmengine.structures import InstanceData

from nexusflow.visualization.canvas import read_image
from nexusflow.visualization.hook import picture_name

PIPELINE = [dict(type='NexusLoadMultiViewImages'), dict(type='NexusPackClip')]


def predicted(dataset, index):
    """The labels of a sample as its prediction."""
    (sample,) = dataset[index]['data_samples']
    boxes, lines = sample.gt_instances_3d, sample.gt_map
    sample.pred_instances_3d = InstanceData(
        bboxes_3d=boxes.bboxes_3d,
        labels_3d=boxes.labels_3d,
        scores_3d=boxes.labels_3d.float() * 0 + 0.5,
        track_ids=boxes.instance_ids,
    )
    sample.pred_map = InstanceData(
        labels=lines.labels, pts_m=lines.pts_m, scores=lines.labels.float() * 0 + 0.5
    )
    return sample


@pytest.fixture(scope='module')
def dataset(drawn_data):
    return DATASETS.build(
        dict(
            type='NexusClipDataset',
            data_root=str(drawn_data.root),
            ann_file=drawn_data.info_file.name,
            test_mode=True,
            pipeline=PIPELINE,
        )
    )


def runner(dataset, folder):
    return SimpleNamespace(work_dir=str(folder), test_dataloader=SimpleNamespace(dataset=dataset))


def test_every_second_sample_gets_a_picture(dataset, tmp_path):
    hook = HOOKS.build(
        dict(type='NexusVisualizationHook', draw=True, interval=2, test_out_dir='shown')
    )
    run = runner(dataset, tmp_path)
    hook.before_test_epoch(run)
    for index in range(3):
        hook.after_test_iter(run, index, outputs=[predicted(dataset, index)])
    names = sorted(p.name for p in (tmp_path / 'shown').iterdir())
    assert names == ['scene-0_0000.png', 'scene-0_0002.png']
    picture = read_image(tmp_path / 'shown' / names[0])
    assert picture.shape[1] > 1200
    assert picture.std() > 10


def test_scores_below_the_threshold_are_not_drawn(dataset):
    sample = predicted(dataset, 0)
    low, high = (
        HOOKS.build(dict(type='NexusVisualizationHook', score_thr=score)) for score in (0.3, 0.6)
    )
    classes = dataset.metainfo['map_classes']
    assert (low.picture(sample, classes) != high.picture(sample, classes)).any()


def test_default_hook_draws_nothing(dataset, tmp_path):
    hook = HOOKS.build(dict(type='NexusVisualizationHook'))
    run = runner(dataset, tmp_path)
    hook.before_test_epoch(run)
    hook.after_test_iter(run, 0, outputs=[predicted(dataset, 0)])
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match='interval is 0'):
        HOOKS.build(dict(type='NexusVisualizationHook', interval=0))
    with pytest.raises(ValueError, match='draw needs test_out_dir'):
        HOOKS.build(dict(type='NexusVisualizationHook', draw=True))


def test_a_name_from_a_file_leads_to_no_other_folder():
    meta = {'scene_name': '/tmp/../x y', 'frame_idx': 1, 'token': '../t'}
    assert picture_name(meta) == '_tmp_.._x_y_0001.png'
    assert picture_name(meta | {'scene_name': ''}) == '.._t.png'
