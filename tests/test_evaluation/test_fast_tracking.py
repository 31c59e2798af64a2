# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The fast tracking evaluation gives the official numbers, and says what is wrong."""

from __future__ import annotations

import copy
import json
import sys

import numpy as np
import pytest

from nexusflow.evaluation.functional.eval_sets import parts_of_eval_set
from nexusflow.evaluation.functional.fast_tracking import evaluate_fast
from nexusflow.evaluation.functional.official_tracking import evaluate_official
from nexusflow.evaluation.functional.submission import MAX_BOXES, TRACKING_CLASSES
from nexusflow.evaluation.functional.tracking_frames import CLASS_RANGE_M
from nexusflow.evaluation.functional.tracking_result import largest_difference, track_table
from nexusflow.evaluation.functional.tracking_scores import METRICS, RULES
from nexusflow.evaluation.made_up_submission import TrackerFaults, make_submission
from nexusflow.evaluation.made_up_tables import EVAL_SET, VERSION, MadeUpSpec, make_tables

FAULTLESS = TrackerFaults(0, 0, 0, 0, 0, 0, 8, 0)


@pytest.fixture(scope='module')
def made_up(tmp_path_factory):
    root = tmp_path_factory.mktemp('made_up')
    make_tables(root, MadeUpSpec(scenes=4, frames=8, objects=16), seed=0)
    return root


def both(root, submission, eval_set=EVAL_SET):
    fast = evaluate_fast(submission, root, VERSION, [eval_set])[eval_set]
    return fast, evaluate_official(submission, root, VERSION, [eval_set])[eval_set]


@pytest.mark.parametrize('seed', range(6))
def test_every_metric_of_every_class_is_the_official_one(made_up, seed):
    """Six of the thirty seeds that ``tools/benchmark.py track`` compares."""
    fast, official = both(made_up, make_submission(made_up, seed))
    assert largest_difference(fast, official) < 1e-6
    assert (
        list(fast.summary['label_metrics'])
        == list(METRICS)
        == list(official.summary['label_metrics'])
    )
    assert 0 < fast.metrics['AMOTA'] < 1
    for name, curve in fast.details.items():
        assert np.allclose(
            curve['confidence'], official.details[name]['confidence'], atol=1e-12, equal_nan=True
        )


def test_boxes_that_coincide_and_single_boxes_score_alike(made_up):
    """AMOTP is then the rounding of the official distances, and of gaps that have no points."""
    submission = make_submission(made_up, 0, FAULTLESS)
    fast, official = both(made_up, submission, 'made_up_boston')
    assert largest_difference(fast, official) < 1e-9
    assert fast.metrics['AMOTA'] > 0.7  # boxes without points are no ground truth
    curve = np.array(fast.details['car']['motp'])
    assert np.nanmin(curve) < 1e-4


def test_settings_are_the_official_ones():
    from nuscenes.eval.common.config import config_factory

    official = config_factory('tracking_nips_2019')
    assert official.class_range == CLASS_RANGE_M
    assert tuple(official.tracking_names) == TRACKING_CLASSES
    assert official.max_boxes_per_sample == MAX_BOXES
    assert (official.dist_th_tp, official.min_recall) == (RULES.match_m, RULES.min_recall)
    worst = official.metric_worst
    assert official.num_thresholds == RULES.num_recalls
    assert worst['amotp'] == worst['motp'] == RULES.worst_motp_m
    assert (worst['faf'], worst['tid'], worst['lgd']) == (500.0, RULES.worst_wait_s, 20)


def test_several_eval_sets_are_scored_from_one_submission(made_up, tmp_path):
    parts = parts_of_eval_set(made_up, VERSION, EVAL_SET)
    assert parts == {'boston': 'made_up_boston', 'singapore': 'made_up_singapore'}
    submission = make_submission(made_up, 1)
    names = [EVAL_SET, *parts.values()]
    together = evaluate_fast(submission, made_up, VERSION, names, tmp_path)
    assert list(together) == names
    for name in parts.values():
        alone = evaluate_fast(submission, made_up, VERSION, [name])[name]
        assert largest_difference(together[name], alone) == 0
        written = json.loads((tmp_path / name / 'metrics_summary.json').read_text())
        assert written['amota'] == alone.metrics['AMOTA']
        assert len(json.loads((tmp_path / name / 'metrics_details.json').read_text())) >= 3
    table = track_table(together[EVAL_SET]).splitlines()
    assert [row.split()[0] for row in table[1:]] == [*sorted(TRACKING_CLASSES), 'all']
    assert f'{together[EVAL_SET].metrics["AMOTA"]:.3f}' in table[-1]


def changed(submission, change):
    """A copy with every box replaced by ``change(box)``; None drops it."""
    results = copy.deepcopy(submission['results'])
    for token, boxes in results.items():
        results[token] = [new for new in map(change, boxes) if new is not None]
    return {'meta': {}, 'results': results}


def test_zeros_have_their_reasons(made_up):
    perfect = make_submission(made_up, 0, FAULTLESS)

    def reason(change):
        result = evaluate_fast(changed(perfect, change), made_up, VERSION, [EVAL_SET])[EVAL_SET]
        assert (result.metrics['AMOTA'], result.metrics['AMOTP']) == (0.0, 2.0)
        return result.reason

    assert 'no boxes were submitted' in reason(lambda box: None)
    assert 'outside the range' in reason(lambda box: box | {'translation': [9e5, 0.0, 0.0]})

    def beside(box):
        x, y, z = box['translation']
        return box | {'translation': [x, y + 300.0 if box['tracking_name'] != 'car' else y, z]}

    first = iter(range(10_000))

    def few(box):
        return box if next(first) % 40 == 0 else None

    assert 'no class reaches a recall of 0.1 within 2 m' in reason(few)
    result = evaluate_fast(changed(perfect, beside), made_up, VERSION, [EVAL_SET])[EVAL_SET]
    assert result.reason is None
    assert result.metrics['AMOTA_car'] > 0.7
    assert result.metrics['AMOTA_pedestrian'] == 0


def test_no_boxes_score_as_officially(made_up):
    empty = changed(make_submission(made_up, 0), lambda box: None)
    fast, official = both(made_up, empty)
    assert largest_difference(fast, official) == 0
    assert fast.reason == official.reason


def test_an_eval_set_without_boxes_is_refused(made_up):
    path = made_up / VERSION / 'splits.json'
    splits = json.loads(path.read_text())
    path.write_text(json.dumps(splits | {'nobody': [splits[EVAL_SET][-1]], 'nowhere': ['x']}))
    submission = make_submission(made_up, 0)
    try:
        for judge in (evaluate_fast, evaluate_official):
            with pytest.raises(ValueError, match="'nobody' has no annotated box"):
                judge(submission, made_up, VERSION, ['nobody'])
            with pytest.raises(ValueError, match="'nowhere': none of its scenes"):
                judge(submission, made_up, VERSION, ['nowhere'])
    finally:
        path.write_text(json.dumps(splits))


def test_neither_devkit_nor_motmetrics_is_needed(made_up, monkeypatch):
    monkeypatch.setitem(sys.modules, 'motmetrics', None)
    monkeypatch.setitem(sys.modules, 'nuscenes', None)
    submission = make_submission(made_up, 2)
    assert evaluate_fast(submission, made_up, VERSION, [EVAL_SET])[EVAL_SET].metrics['GT'] > 0
    with pytest.raises(ImportError, match=r"pip install 'nuscenes-devkit"):
        evaluate_official(submission, made_up, VERSION, [EVAL_SET])
