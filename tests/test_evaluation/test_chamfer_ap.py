# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Chamfer AP against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nexusflow.evaluation.functional.chamfer_ap import (
    MODES,
    ChamferMode,
    MapLines,
    average_precision,
    chamfer_distances,
    match_lines,
    match_sample,
    score_matches,
)
from nexusflow.geometry.polylines import resample

MODE = MODES['maptr']


def line(x0, y0, x1, y1):
    return np.array([[x0, y0], [x1, y1]], dtype=float)


def lines(*pts, labels=None, scores=None):
    labels = np.zeros(len(pts), int) if labels is None else np.array(labels)
    scores = np.linspace(0.9, 0.1, len(pts)) if scores is None else np.array(scores)
    return MapLines(list(pts), labels, scores)


def distance(a, b, mode=MODE):
    n = mode.num_points
    return float(chamfer_distances(resample([a], n), resample([b], n), mode)[0, 0])


@pytest.mark.parametrize('d', [0.0, 0.3, 1.2])
def test_line_shifted_across_has_that_distance(d):
    """
    ------------------ y = d
    ------------------ y = 0
    """
    assert distance(line(0, 0, 20, 0), line(0, d, 20, d)) == pytest.approx(d, abs=1e-9)


def test_half_of_a_line():
    """
    -------- (4 m)
    ---------------- (8 m)

    Of the half every point lies on the whole up to the sampling step; of the whole the second half
    is 0..4 m away, 2 m on average over that half: CD = (0 + 1) / 2 = 0.5 m.
    """
    mode = ChamferMode(num_points=2001)
    assert distance(line(0, 0, 4, 0), line(0, 0, 8, 0), mode) == pytest.approx(0.5, abs=2e-3)


def test_half_of_a_line_at_100_points_exactly():
    half, whole = np.linspace(0, 4, 100), np.linspace(0, 8, 100)
    gap = np.abs(half[:, None] - whole[None])
    by_hand = 0.5 * (gap.min(axis=1).mean() + gap.min(axis=0).mean())
    assert distance(line(0, 0, 4, 0), line(0, 0, 8, 0)) == pytest.approx(by_hand, abs=1e-12)


def test_distance_ignores_direction_and_is_symmetric():
    bent = np.array([[0.0, 0], [3, 0], [3, 4]])
    other = line(0.2, 0.1, 3, 1)
    assert distance(bent, other) == pytest.approx(distance(bent[::-1], other), abs=1e-12)
    assert distance(bent, other) == pytest.approx(distance(other, bent), abs=1e-12)


def test_pairs_out_of_reach_are_not_computed_and_nothing_changes():
    rng = np.random.default_rng(0)
    walk = rng.normal(size=(12, 6, 2)).cumsum(axis=1) + rng.uniform(-4, 4, (12, 1, 2))
    pred, true = resample(list(walk[:8]), 100), resample(list(walk[4:]), 100)
    gated = chamfer_distances(pred, true, MODE)
    everything = chamfer_distances(pred, true, ChamferMode(thresholds_m=(1e9,)))
    assert np.isinf(gated).any()
    assert np.isfinite(everything).all()
    reachable = np.isfinite(gated)
    assert np.array_equal(gated[reachable], everything[reachable])
    assert (everything[~reachable] > 1.5).all()


def test_buffer_gate_loses_short_collinear_pieces():
    """MapTR's flat-capped buffers of pieces in line do not meet although CD is small."""
    a, b = line(0, 0, 0.5, 0), line(0.8, 0, 1.3, 0)
    assert distance(a, b) == pytest.approx(0.55, abs=0.01)
    assert np.isinf(distance(a, b, MODES['maptr_gated']))
    wide = distance(line(0, 0, 9, 0), line(0, 1, 9, 1), MODES['maptr_gated'])
    assert wide == pytest.approx(1.0, abs=1e-9)


def test_prediction_has_no_second_choice():
    """Two predictions nearest to the same truth: the better scored wins, the other is wrong."""
    distances = np.array([[0.4, 0.45], [0.1, 0.6]])
    hits = match_lines(distances, np.array([0.9, 0.8]), (0.5,))
    assert hits.tolist() == [[True, False]]


def test_ties_in_score_keep_the_order():
    hits = match_lines(np.array([[0.3], [0.1]]), np.array([0.5, 0.5]), (0.5, 0.2))
    assert hits.tolist() == [[True, False], [False, True]]


def test_average_precision_by_hand():
    """Hits +, -, +, + of 4: precision 1, 1/2, 2/3, 3/4; envelope 1, 3/4, 3/4, 3/4."""
    scores = np.array([0.6, 0.9, 0.7, 0.8])
    hits = np.array([True, True, True, False])
    assert average_precision(scores, hits, 4) == pytest.approx(0.25 * (1 + 0.75 + 0.75))
    assert average_precision(np.zeros(0), np.zeros(0, bool), 3) == 0.0
    assert np.isnan(average_precision(np.array([0.5]), np.array([False]), 0))


def table(samples, classes=('divider', 'boundary')):
    """AP of {token: (pred, true)}."""
    found = {t: match_sample(p, g, len(classes), MODE) for t, (p, g) in samples.items()}
    return score_matches(found, classes, MODE)


def test_identity_scores_one():
    true = lines(line(-5, -20, -5, 20), line(3, -30, 6, 30), labels=[0, 1])
    assert table({'a': (true, true)}).flat() == {
        'mAP': 1.0,
        'AP_divider': 1.0,
        'AP_boundary': 1.0,
        **{f'AP_{c}@{t}': 1.0 for c in ('divider', 'boundary') for t in ('0.5', '1', '1.5')},
    }


def test_shift_passes_the_thresholds_above_it():
    true = lines(line(0, 0, 20, 0))
    scores = table({'a': (lines(line(0, 0.7, 20, 0.7)), true)}, ('divider',)).flat()
    assert (scores['AP_divider@0.5'], scores['AP_divider@1'], scores['AP_divider@1.5']) == (0, 1, 1)
    assert scores['mAP'] == pytest.approx(2 / 3)


def test_wrong_class_is_no_hit():
    pred = lines(line(0, 0, 20, 0), labels=[1])
    result = table({'a': (pred, lines(line(0, 0, 20, 0)))})
    assert result.per_class[0] == 0.0


def test_no_predictions_and_no_ground_truth():
    true = lines(line(0, 0, 20, 0))
    result = table({'a': (lines(), true), 'b': (lines(), lines())})
    assert result.per_class[0] == 0.0
    assert np.isnan(result.per_class[1])
    assert result.mean == 0.0
    assert result.num_gt.tolist() == [1, 0]
    assert np.isnan(table({'b': (true, lines())}).mean)


def test_order_of_samples_and_lines_is_without_effect():
    rng = np.random.default_rng(1)
    samples = {}
    for token in 'abcde':
        truth = [rng.normal(size=(5, 2)).cumsum(axis=0) * 3 for _ in range(4)]
        guess = [t + rng.normal(scale=0.5, size=2) for t in truth] + [truth[0] + 0.3]
        labels = rng.integers(0, 2, 4)
        pred = lines(*guess, labels=[*labels, labels[0]], scores=rng.permutation(5) / 5 + 0.1)
        samples[token] = (pred, lines(*truth, labels=labels))
    turned = {}
    for token in reversed(samples):
        pred, true = samples[token]
        p, g = rng.permutation(5), rng.permutation(4)
        turned[token] = (
            lines(*[pred.pts_m[i][::-1] for i in p], labels=pred.labels[p], scores=pred.scores[p]),
            lines(*[true.pts_m[i] for i in g], labels=true.labels[g]),
        )
    first, second = table(samples), table(turned)
    assert 0 < first.mean < 1
    assert np.allclose(first.ap, second.ap, atol=0, rtol=0)


def test_twenty_points_are_enough_for_a_curve():
    """The head's 20 points cut corners by far less than the tightest threshold."""
    angle = np.linspace(0, np.pi, 400)
    arc = 12 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert distance(resample([arc], 20)[0], arc) < 0.1
