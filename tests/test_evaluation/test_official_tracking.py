# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The official tracking evaluation through our door."""

from __future__ import annotations

import copy
import importlib
import json
import sys

import pytest

from nexusflow.evaluation.functional.official_tracking import evaluate_official, load_tables


def score(world, submission=None, eval_set='small_val', out_dir=None):
    submission = submission or world.truth
    results = evaluate_official(submission, world.root, world.version, [eval_set], out_dir)
    return results[eval_set]


def changed(world, change):
    """A copy of the truth with every box replaced by ``change(box)``; None drops it."""
    results = copy.deepcopy(world.truth['results'])
    for token, boxes in results.items():
        results[token] = [new for new in map(change, boxes) if new is not None]
    return {'meta': world.truth['meta'], 'results': results}


def test_ground_truth_scores_one(small_world, tmp_path, capsys):
    result = score(small_world, out_dir=tmp_path)
    assert result.metrics['AMOTA'] == pytest.approx(1.0)
    assert result.metrics['AMOTP'] == pytest.approx(0.0)
    assert result.metrics['AMOTA_car'] == pytest.approx(1.0)
    assert result.metrics['IDS'] == result.metrics['FP'] == result.metrics['FN'] == 0
    assert result.metrics['TP'] == 2 * 3 * 6
    assert result.metrics['AMOTA_bus'] != result.metrics['AMOTA_bus']  # NaN: no bus in the world
    assert result.reason is None
    out = capsys.readouterr()
    assert out.out == out.err == ''
    folder = tmp_path / 'small_val'
    summary = json.loads((folder / 'metrics_summary.json').read_text())
    assert summary['amota'] == pytest.approx(1.0)
    assert (folder / 'metrics_details.json').is_file()


def test_cities_are_scored_apart_from_one_submission(small_world):
    only_boston = changed(
        small_world, lambda box: box if box['sample_token'].startswith('one') else None
    )
    assert score(small_world, only_boston, 'small_boston').metrics['AMOTA'] == pytest.approx(1.0)
    other = score(small_world, only_boston, 'small_singapore')
    assert other.metrics['AMOTA'] == 0.0
    assert 'small_singapore: no boxes' in other.reason


def test_workers_change_nothing(small_world, tmp_path):
    names = ['small_val', 'small_boston', 'small_singapore']
    alone, side_by_side = (
        evaluate_official(
            small_world.truth, small_world.root, small_world.version, names, tmp_path / str(n), n
        )
        for n in (1, 2)
    )
    assert list(alone) == list(side_by_side) == names
    for name in names:
        assert side_by_side[name].metrics == pytest.approx(alone[name].metrics, nan_ok=True, abs=0)
        assert (tmp_path / '2' / name / 'metrics_summary.json').is_file()


def test_no_boxes_gives_zero_and_the_reason(small_world):
    result = score(small_world, changed(small_world, lambda box: None))
    assert result.metrics['AMOTA'] == result.metrics['RECALL'] == result.metrics['MOTA'] == 0
    assert result.metrics['AMOTP'] == 2.0
    assert result.metrics['FN'] == 2 * 3 * 6
    assert result.metrics['FP'] == result.metrics['IDS'] == 0
    assert 'no boxes were submitted' in result.reason


def test_other_zeros_have_their_reasons(small_world):
    def far(box):
        return box | {'translation': [9e3, 9e3, 0]}

    def beside(box):
        x, y, z = box['translation']
        return box | {'translation': [x, y + 3.0, z]}

    assert 'outside the range' in score(small_world, changed(small_world, far)).reason
    missed = score(small_world, changed(small_world, beside))
    assert missed.metrics['AMOTA'] == 0
    assert 'no class reaches a recall of 0.1 within 2 m' in missed.reason


def test_identity_switch_is_counted(small_world):
    def switch(box):
        late = int(box['sample_token'][-1]) >= 3
        return box | {'tracking_id': box['tracking_id'] + ('-b' if late else '')}

    result = score(small_world, changed(small_world, switch))
    assert result.metrics['IDS'] == 2 * 3
    assert 0 < result.metrics['AMOTA'] < 1


def test_tables_are_loaded_once(small_world):
    first = load_tables(small_world.root, small_world.version)
    score(small_world, eval_set='small_boston')
    assert load_tables(str(small_world.root), small_world.version) is first
    devkit = importlib.import_module('nuscenes.eval.tracking.evaluate')
    assert devkit.NuScenes is importlib.import_module('nuscenes').NuScenes


def test_missing_samples_are_named(small_world):
    part = copy.deepcopy(small_world.truth)
    del part['results']['two-4']
    with pytest.raises(
        ValueError, match=r"1 of 12 samples of 'small_val' are missing, e\.g\. two-4"
    ):
        score(small_world, part)


def test_missing_tables_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'v1\.0-mini: no nuScenes tables'):
        load_tables(tmp_path, 'v1.0-mini')


def test_missing_motmetrics_says_what_to_install(small_world, monkeypatch):
    monkeypatch.setitem(sys.modules, 'motmetrics', None)
    with pytest.raises(ImportError, match=r"pip install 'motmetrics==1\.4\.0'"):
        score(small_world)
