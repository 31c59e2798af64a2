# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Average precision of hand-made hits."""

import numpy as np
import pytest

from nexusflow.evaluation.functional.average_precision import (
    SampleMatches,
    average_precision,
    score_matches,
)


def test_area_by_hand():
    """Hits +, -, +, + of 4: precision 1, 1/2, 2/3, 3/4; envelope 1, 3/4, 3/4, 3/4."""
    scores = np.array([0.6, 0.9, 0.7, 0.8])
    hits = np.array([True, True, True, False])
    assert average_precision(scores, hits, 4) == pytest.approx(0.25 * (1 + 0.75 + 0.75))
    assert average_precision(np.zeros(0), np.zeros(0, bool), 3) == 0.0
    assert np.isnan(average_precision(np.array([0.5]), np.array([False]), 0))


def test_recall_points_by_hand():
    """The same envelope over recall 1/4, 1/4, 2/4, 3/4, read at 0, 1/4, 2/4, 3/4 and 1."""
    scores = np.array([0.6, 0.9, 0.7, 0.8])
    hits = np.array([True, True, True, False])
    by_hand = (1 + 1 + 0.75 + 0.75 + 0) / 5
    assert average_precision(scores, hits, 4, recall_points=5) == pytest.approx(by_hand)
    assert average_precision(np.zeros(0), np.zeros(0, bool), 3, recall_points=5) == 0.0


def test_recall_points_are_cocos():
    """Against pycocotools' own accumulation on random hits."""
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)
    scores, hits = rng.random(40), rng.random(40) < 0.4
    num_gt = int(hits.sum()) + 7
    coco = COCOeval(iouType='bbox')
    coco.params.imgIds, coco.params.catIds = [0], [0]
    coco.params.iouThrs, coco.params.maxDets = np.array([0.5]), [100]
    coco.params.areaRng, coco.params.areaRngLbl = [[0, 1e9]], ['all']
    coco._paramsEval = coco.params
    order = np.argsort(-scores)
    one = {'dtScores': scores[order], 'dtMatches': hits[order][None].astype(float)}
    one |= {'dtIgnore': np.zeros((1, 40), bool), 'gtIgnore': np.zeros(num_gt, int)}
    coco.evalImgs = [one]
    coco.accumulate()
    expected = coco.eval['precision'].mean()
    assert average_precision(scores, hits, num_gt, 101) == pytest.approx(expected, abs=1e-12)


def test_equal_scores_are_ordered_by_token_then_place():
    """One score for all: a's miss comes before b's hit and c's hit."""

    def sample(*hits):
        zeros = np.zeros(len(hits), int)
        return SampleMatches(zeros, zeros + 0.5, np.array([hits]), np.array([1]))

    matches = {'c': sample(True), 'a': sample(False), 'b': sample(True, False)}
    result = score_matches(matches, ['divider'], np.array([[0.5]]))
    assert result.ap[0, 0] == pytest.approx((1 / 2 + 1 / 2) / 3)  # -, +, -, +
    turned = score_matches(dict(sorted(matches.items())), ['divider'], np.array([[0.5]]))
    assert turned.ap.tolist() == result.ap.tolist()
    assert (result.num_gt.tolist(), result.num_pred.tolist()) == ([3], [4])
