# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Splits of official and other versions."""

import json

import pytest

from nexusflow.datasets.nuscenes_splits import splits_of
from nexusflow.datasets.nuscenes_tables import DETECTION_NAMES


def write(root, version, name, content):
    (root / version).mkdir(exist_ok=True)
    (root / version / name).write_text(json.dumps(content))


def test_parts_of_other_splits_get_no_file(tmp_path):
    splits = {
        'val_a': ['s3'],
        'train': ['s2', 's1'],
        'val': ['s3', 's4'],
        'again': ['s4', 's3'],
        'overlap': ['s1', 's3'],
    }
    write(tmp_path, 'v1.0-world', 'splits.json', splits)
    assert splits_of(tmp_path, 'v1.0-world') == {
        'train': ['s1', 's2'],
        'val': ['s3', 's4'],
        'overlap': ['s1', 's3'],
    }


def test_official_versions_have_the_devkits_splits(tmp_path):
    names = ['scene-0061', 'scene-0103', 'scene-0553', 'scene-9999']
    write(tmp_path, 'v1.0-mini', 'scene.json', [{'name': n} for n in names])
    assert splits_of(tmp_path, 'v1.0-mini') == {
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


def test_category_names_are_the_devkits():
    from nuscenes.eval.detection import utils

    for category, name in DETECTION_NAMES.items():
        assert utils.category_to_detection_name(category) == name
    assert utils.category_to_detection_name('animal') is None
