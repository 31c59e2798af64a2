# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Files are complete or absent; metrics are sorted by city."""

from __future__ import annotations

import os

import pytest

from nexusflow.evaluation.functional import files
from nexusflow.evaluation.functional.summary import metrics_by_city


def test_failed_write_keeps_the_old_file_and_leaves_no_rest(tmp_path, monkeypatch):
    path = files.write_json(tmp_path / 'a' / 'x.json', {'v': 1})
    with pytest.raises(ValueError, match='not JSON compliant'):
        files.write_json(path, {'v': float('nan')})

    def broken(source, target):
        raise OSError('disk full')

    monkeypatch.setattr(os, 'replace', broken)
    with pytest.raises(OSError, match='disk full'):
        files.write_json(path, {'v': 2})
    assert files.read_json(path) == {'v': 1}
    assert [p.name for p in path.parent.iterdir()] == ['x.json']


def test_other_users_may_read_what_is_written(tmp_path):
    plain = tmp_path / 'plain'
    plain.touch()
    written = files.write_text(tmp_path / 'written', 'x')
    assert written.stat().st_mode == plain.stat().st_mode


def test_metrics_are_sorted_by_city_and_nan_is_none():
    flat = {
        'map/mAP': 0.5,
        'map/boston-seaport/mAP': 0.6,
        'map/singapore-onenorth/mAP': float('nan'),
        'track/AMOTA': 0.2,
        'track/singapore/AMOTA': 0.1,
        'track_greedy/AMOTA': 0.3,
        'time': 3.0,
    }
    assert metrics_by_city(flat) == {
        'all': {'mAP': 0.5, 'AMOTA': 0.2, 'greedy_AMOTA': 0.3},
        'boston': {'mAP': 0.6},
        'singapore': {'mAP': None, 'AMOTA': 0.1},
    }


def test_two_locations_of_a_city_stay_apart():
    flat = {'map/singapore-onenorth/mAP': 0.1, 'map/singapore-queenstown/mAP': 0.2}
    assert list(metrics_by_city(flat)) == ['singapore-onenorth', 'singapore-queenstown']
