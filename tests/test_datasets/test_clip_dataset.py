# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Clips, labels, tasks and what is refused at the start."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from nexusflow.datasets import NexusClipDataset
from nexusflow.datasets.info_file import CATEGORIES, load_info, save_info
from nexusflow.engine.hooks.map_range_hook import check_map_range
from nexusflow.models.bev.grid import BEVGrid

PIPELINE = [
    {'type': 'NexusLoadMultiViewImages'},
    {'type': 'NexusImageAug', 'size_hw': (48, 96), 'deterministic': True},
    {'type': 'NexusPackClip'},
]
BY_LOCATION = {'type': 'ByLocation', 'map': ['boston-*'], 'track': ['singapore-*']}


@pytest.fixture
def make(nuscenes_root, train_info):
    def build(**kwargs):
        args = {'data_root': str(nuscenes_root), 'ann_file': str(train_info), 'pipeline': PIPELINE}
        return DATASETS.build({'type': 'NexusClipDataset', **args, **kwargs})

    return build


def test_training_item(make):
    dataset = make(clip_length=3, supervision=BY_LOCATION)
    assert len(dataset) == 2 + 3
    item = dataset[0]
    assert item['inputs']['img'].shape == (3, 6, 3, 48, 96)
    assert item['inputs']['img'].dtype == torch.uint8
    assert [s.token for s in item['data_samples']] == ['left-1-0', 'left-1-1', 'left-1-2']
    sample = item['data_samples'][1]
    assert sample.tasks == ('track',) and sample.location == 'singapore-onenorth'
    assert sample.frame_idx == 1 and sample.time_s == 0.5 and sample.img_shape == (48, 96)
    assert sample.lidar2img.shape == sample.img2lidar.shape == (6, 4, 4)
    np.testing.assert_allclose(
        sample.lidar2img @ sample.img2lidar, np.tile(np.eye(4), (6, 1, 1)), atol=1e-9
    )
    assert len(sample.img_paths) == len(sample.cam_names) == 6
    objects = sample.gt_instances_3d
    assert objects.bboxes_3d.tensor.shape == (2, 9)
    assert objects.labels_3d.tolist() == [
        dataset.metainfo['track_classes'].index(n) for n in ('pedestrian', 'bicycle')
    ]
    elements = sample.gt_map
    assert elements.pts_m.shape == (len(elements.labels), 20, 2) and len(elements.labels) >= 2
    assert elements.is_closed.sum() == 1 and elements.labels[elements.is_closed].tolist() == [1]


def test_boxes_keep_their_gravity_centre(make):
    dataset = make(test_mode=True)
    sample = dataset[0]['data_samples'][0]
    raw = dataset.get_data_info(0)
    ids = sample.gt_instances_3d.instance_ids.tolist()
    rows = [list(raw['instance_ids']).index(i) for i in ids]
    boxes = sample.gt_instances_3d.bboxes_3d
    np.testing.assert_allclose(boxes.gravity_center, raw['boxes'][rows, :3], atol=1e-5)
    np.testing.assert_allclose(boxes.dims, raw['boxes'][rows, 3:6], atol=1e-5)
    np.testing.assert_allclose(boxes.tensor[:, 7:], raw['velocity'][rows], atol=1e-5)


def test_only_objects_that_the_evaluation_counts(make):
    """The truck has no points, the animal is of no class, the car ends after a frame."""
    dataset = make(test_mode=True)
    names = [
        [
            dataset.metainfo['track_classes'][i]
            for i in item['data_samples'][0].gt_instances_3d.labels_3d
        ]
        for item in (dataset[0], dataset[1])
    ]
    assert names == [['car', 'pedestrian', 'bicycle'], ['pedestrian', 'bicycle']]
    near = make(test_mode=True, track_range_m=(-13.0, -13.0, 13.0, 13.0))
    assert len(near[0]['data_samples'][0].gt_instances_3d) < 3


def test_the_range_of_the_map_is_compared_with_the_heads(make):
    """The file's, which tools/create_data.py --map-range sets; the head must have the same."""
    dataset, grid = make(), BEVGrid((-15.0, -30.0, 15.0, 30.0), cell_m=5.0)
    check_map_range(SimpleNamespace(map_head=SimpleNamespace(grid=grid)), dataset)
    grid = BEVGrid((-50.0, -25.0, 50.0, 25.0), cell_m=5.0)
    with pytest.raises(ValueError, match=r'world_train\.pkl: .* map_range_m -15 -30 15 30, model'):
        check_map_range(SimpleNamespace(map_head=SimpleNamespace(grid=grid)), dataset)


def test_clips_never_cross_scenes(make):
    dataset = make(clip_length=2)
    for i in range(len(dataset)):
        tokens = [s.token for s in dataset[i]['data_samples']]
        scenes = {t.rsplit('-', 1)[0] for t in tokens}
        frames = [int(t.rsplit('-', 1)[1]) for t in tokens]
        assert len(scenes) == 1 and frames[1] == frames[0] + 1


def test_each_city_has_its_tasks(make):
    dataset = make(clip_length=2, supervision=BY_LOCATION)
    for i in range(len(dataset)):
        for sample in dataset[i]['data_samples']:
            assert sample.tasks == (('map',) if 'boston' in sample.location else ('track',))
            assert len(sample.gt_map.labels) and len(sample.gt_instances_3d)
    swapped = make(clip_length=2, supervision={'type': 'Swapped', 'of': BY_LOCATION})
    assert swapped[0]['data_samples'][0].tasks == ('map',)
    assert make(clip_length=2)[0]['data_samples'][0].tasks == ('map', 'track')


def test_test_mode_is_single_frames_in_scene_order(make):
    dataset = make(test_mode=True, clip_length=3)
    assert len(dataset) == 9
    assert dataset.item_scenes == ['scene-left-1'] * 4 + ['scene-right-1'] * 5
    assert dataset[8]['inputs']['img'].shape[0] == 1


def test_metainfo_and_clip_length(make):
    dataset = make(clip_length=2)
    meta = dataset.metainfo
    assert meta['map_range_m'] == [-15.0, -30.0, 15.0, 30.0] and meta['frame'] == 'lidar'
    assert meta['locations'] == ('boston-seaport', 'singapore-onenorth')
    assert meta['categories'] == list(CATEGORIES)
    dataset.set_clip_length(5)
    assert len(dataset) == 1 and len(dataset[0]['data_samples']) == 5
    with pytest.raises(ValueError, match=r'clip_length is 6, .* no more than 5 consecutive'):
        dataset.set_clip_length(6)


def test_lazy_and_partial_data_sets(make):
    assert len(make(clip_length=2, lazy_init=True)) == 7
    assert make(test_mode=True, lazy_init=True).item_scenes[-1] == 'scene-right-1'
    few = make(clip_length=2, indices=5, serialize_data=False)
    assert len(few) == 3 and len(few[2]['data_samples']) == 2
    assert make(test_mode=True, indices=[4, 6]).item_scenes == ['scene-right-1'] * 2


def test_collate_and_workers(make):
    loader = DataLoader(make(clip_length=2), 2, collate_fn=pseudo_collate, num_workers=1)
    batch = next(iter(loader))
    assert [x.shape for x in batch['inputs']['img']] == [torch.Size([2, 6, 3, 48, 96])] * 2
    assert [[s.token for s in frame] for frame in batch['data_samples']] == [
        ['left-1-0', 'left-1-1'],
        ['left-1-1', 'left-1-2'],
    ]


@pytest.mark.parametrize('num_workers', [0, 1])
def test_workers_are_told_how_many_frames_to_load(make, num_workers):
    dataset = make(clip_length=3)
    loader = DataLoader(
        dataset,
        num_workers=num_workers,
        collate_fn=pseudo_collate,
        persistent_workers=num_workers > 0,
    )
    whole = [[sample.token for (sample,) in batch['data_samples']] for batch in loader]
    dataset.load_frames(2)
    short = [[sample.token for (sample,) in batch['data_samples']] for batch in loader]
    assert {len(tokens) for tokens in whole} == {3}
    assert short == [tokens[:2] for tokens in whole]
    assert dataset.clip_length == 3
    dataset.set_clip_length(2)
    assert dataset.clip_length == len(dataset[0]['data_samples']) == 2


def test_a_batch_that_is_being_made_keeps_its_number_of_frames(make):
    def tell(results):
        dataset.load_frames(1)
        return results

    dataset = make(clip_length=3, pipeline=[tell, *PIPELINE])
    batches = [[len(item['data_samples']) for item in dataset.__getitems__([0, 1])] for _ in '12']
    assert batches == [[3, 3], [1, 1]]


def test_bad_configuration(make, nuscenes_root):
    with pytest.raises(FileNotFoundError, match=r'data_root /nowhere is missing: set it to'):
        make(data_root='/nowhere')
    with pytest.raises(
        FileNotFoundError, match=r'nope.pkl is missing: make it with tools/create_data'
    ):
        make(ann_file='nope.pkl')
    with pytest.raises(ValueError, match=r"track_classes: unknown class 'tram'; known are car"):
        make(track_classes=('car', 'tram'))
    with pytest.raises(ValueError, match=r"map_classes: unknown class 'kerb'; known are divider"):
        make(map_classes=('kerb',))
    with pytest.raises(ValueError, match=r"no class 'centerline', .* again with --centerlines"):
        make(map_classes=('divider', 'centerline'))
    with pytest.raises(ValueError, match=r"check_images is 'some', it must be one of"):
        make(check_images='some')
    with pytest.raises(ValueError, match=r"'paris-\*' fits no location of the data set"):
        make(supervision={**BY_LOCATION, 'map': ['paris-*']})
    with pytest.raises(ValueError, match=r"labels none of the 9 samples for task 'track'"):
        make(supervision={'type': 'ByLocation', 'map': ['boston-*']})
    with pytest.raises(ValueError, match=r"unknown task 'depth'"):
        make(supervision={**BY_LOCATION, 'depth': ['boston-*']})


def test_labels_that_the_file_lacks(make, train_info, tmp_path):
    def saved(name, change):
        info = load_info(train_info)
        for sample in info['data_list']:
            change(sample)
        save_info(tmp_path / name, info)
        return str(tmp_path / name)

    path = saved('no_map.pkl', lambda s: s.update(map_vectors=None))
    with pytest.raises(
        ValueError, match=r"no_map.pkl: data_list\[0\]\['map_vectors'\] is unknown, but"
    ):
        make(ann_file=path)
    assert len(make(ann_file=path, test_mode=True)[0]['data_samples'][0].gt_map.labels) == 0
    path = saved('no_ids.pkl', lambda s: s.update(instance_ids=s['instance_ids'] * 0 - 1))
    with pytest.raises(ValueError, match=r"no_ids.pkl: .*\['instance_ids'\] is unknown.*'track'"):
        make(ann_file=path)


def test_missing_images_are_found_at_the_start(make, train_info, tmp_path):
    info = load_info(train_info)
    info['data_list'][2]['images']['CAM_BACK']['img_path'] = 'samples/gone.jpg'
    path = tmp_path / 'x.pkl'
    save_info(path, info)
    make(ann_file=str(path))
    with pytest.raises(
        FileNotFoundError, match=r'gone.jpg \(CAM_BACK of sample .left-1-2.\) is missing'
    ):
        make(ann_file=str(path), check_images='all')
    info['data_list'][0]['images']['CAM_BACK']['img_path'] = 'samples/gone.jpg'
    save_info(path, info)
    with pytest.raises(FileNotFoundError, match=r'CAM_BACK of sample .left-1-0.'):
        make(ann_file=str(path))
    assert isinstance(make(ann_file=str(path), check_images='off'), NexusClipDataset)
