# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Names of eval sets: custom ones, predefined ones, and their parts."""

from __future__ import annotations

import json
import sys

import pytest

from nexusflow.evaluation.functional.eval_sets import (
    _TABLES,
    check_eval_set,
    parts_of_eval_set,
    scenes_of_eval_set,
)

SPLITS = {'w_val': ['a', 'b'], 'w_val_boston': ['a'], 'near': ['b'], 'same': ['b', 'a'], 'no': []}


@pytest.fixture
def root(tmp_path):
    for version in ('v1.0-w', 'v1.0-trainval'):
        (tmp_path / version).mkdir()
    (tmp_path / 'v1.0-w' / 'splits.json').write_text(json.dumps(SPLITS | {'val': ['a']}))
    return tmp_path


def test_custom_sets_and_their_parts(root):
    assert scenes_of_eval_set(root, 'v1.0-w', 'w_val') == ['a', 'b']
    parts = parts_of_eval_set(root, 'v1.0-w', 'w_val')
    assert parts == {'boston': 'w_val_boston', 'near': 'near', 'val': 'val'}


def test_predefined_sets_are_the_devkits(root):
    assert scenes_of_eval_set(root, 'v1.0-mini', 'mini_val') == ['scene-0103', 'scene-0916']
    assert len(scenes_of_eval_set(root, 'v1.0-trainval', 'val')) == 150
    assert parts_of_eval_set(root, 'v1.0-trainval', 'val') == {}


def test_predefined_sets_need_their_version_and_the_devkit(root, monkeypatch):
    with pytest.raises(ValueError, match=r"'val' belongs to versions that end with 'trainval'"):
        check_eval_set(root, 'v1.0-w', 'val')
    monkeypatch.setitem(sys.modules, 'nuscenes.utils.splits', None)
    with pytest.raises(ImportError, match=r"pip install 'nuscenes-devkit"):
        scenes_of_eval_set(root, 'v1.0-trainval', 'val')


def test_unknown_set_names_the_known_ones(root):
    with pytest.raises(ValueError, match=r"splits\.json: no eval set 'w_vall'.*w_val_boston"):
        check_eval_set(root, 'v1.0-w', 'w_vall')
    with pytest.raises(ValueError, match=r'it holds \[\]'):
        check_eval_set(root, 'v1.0-trainval', 'mine')


def test_tables_are_looked_for_at_the_start(root):
    with pytest.raises(FileNotFoundError, match=r"no version 'v1.0-mini'"):
        check_eval_set(root, 'v1.0-mini', 'mini_val')
    with pytest.raises(FileNotFoundError, match=r"scene\.json is missing, eval set 'w_val' is"):
        check_eval_set(root, 'v1.0-w', 'w_val')
    for name in _TABLES:
        (root / 'v1.0-trainval' / f'{name}.json').touch()
    check_eval_set(root, 'v1.0-trainval', 'val')
    (root / 'v1.0-trainval' / 'ego_pose.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'v1\.0-trainval/ego_pose\.json is missing'):
        check_eval_set(root, 'v1.0-trainval', 'val')
