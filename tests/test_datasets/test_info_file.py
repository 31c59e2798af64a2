# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Reading, checking and writing info files."""

import collections
import os
import pickle

import numpy as np
import pytest

from nexusflow.datasets.info_file import InfoFileError, load_info, load_plain, save_info, save_plain


class Evil:
    def __reduce__(self):
        return os.system, ('echo hacked',)


@pytest.fixture
def info(train_info):
    return load_info(train_info)


def test_plain_data_survives(tmp_path):
    content = {
        'a': [np.arange(3), np.float64(2.5), (1, 'x', None, True, b'y', {2})],
        'b': collections.OrderedDict(k=np.zeros((2, 0), np.float32)),
        'c': np.array(['t', 'u']),
        'd': np.asfortranarray(np.ones((2, 3))),
    }
    save_plain(tmp_path / 'x.pkl', content)
    got = load_plain(tmp_path / 'x.pkl')
    assert list(got['a'][0]) == [0, 1, 2] and got['a'][1:] == content['a'][1:]
    assert got['b']['k'].shape == (2, 0) and list(got['c']) == ['t', 'u']
    assert got['d'].sum() == 6


@pytest.mark.parametrize(
    'content', [Evil(), {'metainfo': Evil()}, np.array([Evil()], dtype=object)]
)
def test_code_is_refused(tmp_path, content, capfd):
    path = tmp_path / 'evil.pkl'
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(
        InfoFileError, match=r'evil.pkl: .*system, which is not plain data; make it'
    ):
        load_info(path)
    assert 'hacked' not in capfd.readouterr().out


class Reduced:
    """Pickled as a call of its own choice."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def forged(flags):
    """An array of objects whose addresses are bytes of the file, with the flags of its dtype."""
    fields = {'x': (np.dtype('O'), 0)}
    state = (3, '|', None, ('x',), fields, 8, 1, flags)
    dtype = Reduced(np.dtype, ('V8', False, True), state)
    array = np.zeros(0)
    reconstruct, args, _ = array.__reduce__()
    return pickle.dumps(Reduced(reconstruct, args, (1, (2,), dtype, False, b'A' * 16)))


def test_arrays_with_parts_of_their_own_are_refused(tmp_path):
    path = tmp_path / 'forged.pkl'
    path.write_bytes(forged(0))
    with pytest.raises(InfoFileError, match='an array of dtype V'):
        load_plain(path)
    holder = np.empty(2, object)
    holder[1] = np.zeros(1, [('x', 'f4')])
    path.write_bytes(pickle.dumps({'a': [holder]}))
    with pytest.raises(InfoFileError, match='an array of dtype V'):
        load_plain(path)


def test_whatever_a_broken_file_raises_is_told_in_one_way(tmp_path, train_info):
    path, data = tmp_path / 'broken.pkl', train_info.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(data[: 4000 + rng.integers(4000)])
        broken[rng.integers(200)] ^= 1 << rng.integers(8)
        path.write_bytes(broken)
        with pytest.raises(InfoFileError, match='broken.pkl'):
            load_plain(path)


def test_truncated_and_foreign_files(tmp_path, train_info):
    path = tmp_path / 'half.pkl'
    path.write_bytes(train_info.read_bytes()[:1000])
    with pytest.raises(InfoFileError, match=r'half.pkl: cannot be read as an info file'):
        load_info(path)
    path.write_text('not a pickle')
    with pytest.raises(InfoFileError, match=r'half.pkl: cannot be read as an info file'):
        load_info(path)
    save_plain(path, [1, 2])
    with pytest.raises(
        InfoFileError, match="an info file is a dict with 'metainfo' and 'data_list'"
    ):
        load_info(path)
    with pytest.raises(
        FileNotFoundError, match=r'gone.pkl is missing: make it with tools/create_data'
    ):
        load_info(tmp_path / 'gone.pkl')


def test_a_missing_file_names_those_of_its_folder(train_info, tmp_path):
    there = 'nexusflow_infos_world_train.pkl, nexusflow_infos_world_val.pkl'
    with pytest.raises(FileNotFoundError, match=f'<version>, or name one that is there: {there}$'):
        load_info(train_info.with_name('nexusflow_infos_train.pkl'))
    with pytest.raises(FileNotFoundError, match='--version <version>$'):
        load_info(tmp_path / 'nowhere' / 'gone.pkl')


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('frame', 'ego', r"metainfo\['frame'\] is 'ego', this version of nexusflow reads 'lidar'"),
        ('schema_version', 99, r"metainfo\['schema_version'\] is 99, .* reads 1; make it again"),
        ('schema', 'other', r"metainfo\['schema'\] is 'other'"),
        ('map_range_m', None, r"metainfo\['map_range_m'\] is missing"),
    ],
)
def test_other_schema_or_frame(tmp_path, info, key, value, message):
    info['metainfo'][key] = value
    if value is None:
        del info['metainfo'][key]
    save_plain(tmp_path / 'x.pkl', info)
    with pytest.raises(InfoFileError, match=message):
        load_info(tmp_path / 'x.pkl')


def test_broken_samples(tmp_path, info):
    path = tmp_path / 'x.pkl'

    def message_of(change):
        fresh = pickle.loads(pickle.dumps(info))
        change(fresh['data_list'][2])
        with pytest.raises(InfoFileError) as caught:
            save_info(path, fresh)
        return str(caught.value)

    def without_velocity(sample):
        del sample['velocity']

    def without_intrinsics(sample):
        del sample['images']['CAM_BACK']['cam2img']

    def flat_pose(sample):
        sample['ego2global'] = sample['ego2global'][:3]

    def one_label_less(sample):
        sample['labels'] = sample['labels'][1:]

    def no_instances(sample):
        sample['instance_tokens'] = []

    assert "data_list[2]['velocity'] is missing; make it again" in message_of(without_velocity)
    assert "['images']['CAM_BACK']['cam2img'] is missing" in message_of(without_intrinsics)
    assert "['ego2global'] has shape (3, 4), expected (4, 4)" in message_of(flat_pose)
    assert 'one entry per box is needed' in message_of(one_label_less)
    assert "'instance_tokens': 0" in message_of(no_instances)
    assert not path.exists()


def test_labels_that_count_other_classes_are_refused(info, tmp_path):
    fresh = pickle.loads(pickle.dumps(info))
    fresh['metainfo']['categories'] = ['pedestrian', 'car']
    with pytest.raises(
        InfoFileError, match=r"metainfo\['categories'\] is \['pedestrian', 'car'\], labels count"
    ):
        save_info(tmp_path / 'x.pkl', fresh)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / 'x.pkl'
    save_plain(path, 'old')
    with pytest.raises((pickle.PicklingError, AttributeError)):
        save_plain(path, ['new', lambda: 0])
    assert load_plain(path) == 'old'
    assert os.listdir(tmp_path) == ['x.pkl']
