# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Splits of official and other versions."""

import json
from pathlib import Path

import pytest

from nexusflow.datasets.nuscenes_splits import SplitSpec, splits_of
from nexusflow.datasets.nuscenes_tables import DETECTION_NAMES

RODDICK = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'splits' / 'roddick_scenes.json'


def write(root, version, name, content):
    (root / version).mkdir(exist_ok=True)
    (root / version / name).write_text(json.dumps(content))


def names(splits):
    """The scenes of splits that hold whole scenes only."""
    assert all(tokens is None for split in splits.values() for tokens in split.values())
    return {name: list(split) for name, split in splits.items()}


def write_tables(root, version, scenes, frames=2):
    """Tables of samples ``<scene>-<frame>``; ``scenes`` maps a scene to its location."""
    places = sorted(set(scenes.values()))
    write(root, version, 'log.json', [{'token': p, 'location': p} for p in places])
    rows = [{'token': f't-{name}', 'name': name, 'log_token': p} for name, p in scenes.items()]
    write(root, version, 'scene.json', rows)
    samples = [(name, f'{name}-{k}') for name in scenes for k in range(frames)]
    rows = [{'token': token, 'scene_token': f't-{name}'} for name, token in samples]
    write(root, version, 'sample.json', rows)


CITIES = {'s1': 'boston-seaport', 's2': 'boston-seaport', 's3': 'singapore-onenorth'}


def listed(root, *sources, allow_missing=False):
    return splits_of(root, 'v1.0-trainval', SplitSpec(sources, allow_missing))


def test_parts_of_other_splits_get_no_file(tmp_path):
    splits = {
        'val_a': ['s3'],
        'w_train': ['s2', 's1'],
        'w_val': ['s3', 's4'],
        'again': ['s4', 's3'],
        'overlap': ['s1', 's3'],
    }
    write(tmp_path, 'v1.0-world', 'splits.json', splits)
    assert names(splits_of(tmp_path, 'v1.0-world')) == {
        'w_train': ['s1', 's2'],
        'w_val': ['s3', 's4'],
        'overlap': ['s1', 's3'],
    }


def test_names_that_the_devkit_keeps_are_refused(tmp_path):
    write(tmp_path, 'v1.0-mine', 'splits.json', {'a': ['s1'], 'val': ['s3']})
    with pytest.raises(ValueError, match=r"splits.json: the devkit keeps the name 'val'.*'my_val'"):
        splits_of(tmp_path, 'v1.0-mine')


def test_official_versions_have_the_devkits_splits(tmp_path):
    scenes = ['scene-0061', 'scene-0103', 'scene-0553', 'scene-9999']
    write(tmp_path, 'v1.0-mini', 'scene.json', [{'name': n} for n in scenes])
    assert names(splits_of(tmp_path, 'v1.0-mini')) == {
        'mini_train': ['scene-0061', 'scene-0553'],
        'mini_val': ['scene-0103'],
    }
    write(tmp_path, 'v1.0-trainval', 'scene.json', [{'name': 'scene-0061'}])
    with pytest.raises(ValueError, match=r"scene.json: it has no scene of the split 'val'"):
        splits_of(tmp_path, 'v1.0-trainval')


def test_bad_split_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'splits.json is missing: a version other than'):
        splits_of(tmp_path, 'v1.0-world')
    write(tmp_path, 'v1.0-world', 'splits.json', ['s1'])
    with pytest.raises(ValueError, match=r'splits.json: expected {"split": \["scene name"'):
        splits_of(tmp_path, 'v1.0-world')


def test_splits_by_city(tmp_path):
    write_tables(tmp_path, 'v1.0-trainval', CITIES)
    splits = listed(tmp_path, 'far_train=city:boston-*', 'far_val=city:singapore-onenorth')
    assert names(splits) == {'far_train': ['s1', 's2'], 'far_val': ['s3']}
    with pytest.raises(
        ValueError, match=r"'paris-\*'; its locations are \['boston-seaport', 'sing"
    ):
        listed(tmp_path, 'val=city:boston-*,paris-*')
    with pytest.raises(ValueError, match=r"'city:boston-\*' needs a name, as in val=city:boston"):
        listed(tmp_path, 'city:boston-*')


def test_lists_of_scenes_and_samples(tmp_path):
    write_tables(tmp_path, 'v1.0-trainval', CITIES)
    (tmp_path / 'near.txt').write_text('# first a scene\ns2\n\ns1-1  # and a sample\n')
    (tmp_path / 'rest.json').write_text('["s3-0", "s3-1"]')
    (tmp_path / 'both.json').write_text('{"train": ["s1"], "val": ["s3"]}')
    near, rest, both = (str(tmp_path / n) for n in ('near.txt', 'rest.json', 'both.json'))
    splits = listed(tmp_path, near, f'val={rest}')
    assert splits == {'near': {'s1': {'s1-1'}, 's2': None}, 'val': {'s3': None}}
    assert names(listed(tmp_path, both)) == {'train': ['s1'], 'val': ['s3']}
    assert names(listed(tmp_path, f'mine={both}#val')) == {'mine': ['s3']}


def test_faults_of_lists_are_named(tmp_path):
    write_tables(tmp_path, 'v1.0-trainval', CITIES)
    path = tmp_path / 'list.json'
    path.write_text('{"train": ["s1", "scene-0999"], "val": ["gone"]}')
    with pytest.raises(
        ValueError, match=r"json#train: 1 of 2 entries .*v1.0-trainval.*'scene-0999'"
    ):
        listed(tmp_path, str(path), allow_missing=False)
    splits = listed(tmp_path, f'{path}#train', allow_missing=True)
    assert names(splits) == {'train': ['s1']}
    with pytest.raises(ValueError, match=r"#val: 1 of 1 entries.*'gone'"):
        listed(tmp_path, f'{path}#val', allow_missing=True)  # nothing is left
    with pytest.raises(ValueError, match=r"it has no list 'test'; it has \['train', 'val'\]"):
        listed(tmp_path, f'{path}#test')
    with pytest.raises(ValueError, match=r"choose one, as in '.*list.json#train'"):
        listed(tmp_path, f'mine={path}')
    with pytest.raises(ValueError, match=r"split 'a' is given twice"):
        listed(tmp_path, 'a=city:boston-*', 'a=city:singapore-*')
    with pytest.raises(
        FileNotFoundError, match=r'list of scenes or samples .*none\.txt is missing'
    ):
        listed(tmp_path, str(tmp_path / 'none.txt'))
    path.write_text('{"train": {"s1": 1}}')
    with pytest.raises(ValueError, match=r"list\.json: 'train' is no list of names"):
        listed(tmp_path, str(path))
    path.write_text('["s1"')
    with pytest.raises(ValueError, match=r'list\.json: not a JSON file'):
        listed(tmp_path, str(path))


def test_geographically_disjoint_split(tmp_path):
    """The published file where it is there, else one of the same form."""
    path, expected = RODDICK, {'train': 698, 'val': 148}
    if not path.is_file():
        lists = {'train': [f'scene-{k:04d}' for k in range(7)], 'val': ['scene-0100', 'scene-0103']}
        path, expected = tmp_path / 'disjoint.json', {'train': 7, 'val': 2}
        path.write_text(json.dumps(lists))
    members = [name for part in json.loads(path.read_text()).values() for name in part]
    write_tables(tmp_path, 'v1.0-trainval', dict.fromkeys([*members, 'scene-9999'], 'x'), frames=1)
    splits = names(listed(tmp_path, str(path)))
    assert {name: len(scenes) for name, scenes in splits.items()} == expected
    assert not set(splits['train']) & set(splits['val'])


def test_category_names_are_the_devkits():
    from nuscenes.eval.detection import utils

    for category, name in DETECTION_NAMES.items():
        assert utils.category_to_detection_name(category) == name
    assert utils.category_to_detection_name('animal') is None
