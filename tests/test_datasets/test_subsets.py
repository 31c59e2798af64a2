# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Subsets of an info file, in the data set and in the conversion."""

import pytest

from nexusflow.datasets import NexusClipDataset, load_info
from nexusflow.datasets.nuscenes_converter import ConvertSpec, convert
from nexusflow.datasets.nuscenes_splits import SplitSpec
from nexusflow.datasets.subsets import select_samples

VERSION = 'v1.0-world'


def tokens(samples):
    return [sample['token'] for sample in samples]


def test_selection_keeps_the_order(train_info, tmp_path):
    samples = load_info(train_info)['data_list']
    assert select_samples(samples, None, 'x') == samples
    assert tokens(select_samples(samples, 'city:boston-*', 'x')) == [
        f'right-1-{k}' for k in range(5)
    ]
    path = tmp_path / 'list.txt'
    path.write_text('right-1-3\nleft-1\nright-1-0\n')
    chosen = [*(f'left-1-{k}' for k in range(4)), 'right-1-0', 'right-1-3']
    assert tokens(select_samples(samples, str(path), 'x')) == chosen
    path.write_text('left-1\nleft-2\n')
    with pytest.raises(ValueError, match=r"list\.txt: 1 of 2 entries .* of train\.pkl.*'left-2'"):
        select_samples(samples, str(path), 'train.pkl')


def test_data_set_of_a_subset(nuscenes_root, train_info, tmp_path):
    """A gap in a scene parts its clips."""
    path = tmp_path / 'list.txt'
    path.write_text('\n'.join(f'right-1-{k}' for k in (0, 1, 3, 4)))
    options = dict(clip_length=2, check_images='off', subset=str(path))
    dataset = NexusClipDataset(str(nuscenes_root), str(train_info), **options)
    dataset.full_init()
    assert len(dataset) == 2
    assert dataset.metainfo['locations'] == ('boston-seaport',)


def test_conversion_of_listed_splits(nuscenes_root, tmp_path):
    path = tmp_path / 'list.txt'
    path.write_text('left-1-1\nleft-1-2\n')
    sources = (f'part={path}', 'boston=city:boston-*')
    spec = ConvertSpec(nuscenes_root, VERSION, tmp_path / 'out', splits=SplitSpec(sources))
    paths = convert(spec, progress=False)
    assert sorted(paths) == ['boston', 'part']
    assert paths['part'].name == 'nexusflow_infos_part.pkl'
    info = load_info(paths['part'])
    assert tokens(info['data_list']) == ['left-1-1', 'left-1-2']
    assert info['metainfo']['split'] == 'part'
    ids = {i for s in info['data_list'] for i in s['instance_ids'].tolist()}
    assert ids == set(range(len(ids)))
    stamps = {name: p.stat().st_mtime_ns for name, p in paths.items()}
    path.write_text('left-1-3\n')
    convert(spec, progress=False)
    assert tokens(load_info(paths['part'])['data_list']) == ['left-1-3']
    assert paths['boston'].stat().st_mtime_ns == stamps['boston']
