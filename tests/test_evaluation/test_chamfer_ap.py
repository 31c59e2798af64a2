# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Chamfer AP against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from nexusflow.evaluation.functional.average_precision import score_matches
from nexusflow.evaluation.functional.chamfer_ap import (
    MODES,
    ChamferMode,
    MapLines,
    chamfer_distances,
    line_distances,
    match_lines,
    match_sample,
)
from nexusflow.geometry.polylines import resample
from nexusflow.geometry.vector_map import MapIndex, MapLayers

MODE = MODES['maptr']
FINE = ChamferMode(num_points=2001)


def line(x0, y0, x1, y1):
    return np.array([[x0, y0], [x1, y1]], dtype=float)


def lines(*pts, labels=None, scores=None):
    labels = np.zeros(len(pts), int) if labels is None else np.array(labels)
    scores = np.linspace(0.9, 0.1, len(pts)) if scores is None else np.array(scores)
    return MapLines(list(pts), labels, scores)


def distance(a, b, mode=MODE):
    return float(line_distances(lines(a), lines(b), mode)[0, 0])


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
    assert distance(line(0, 0, 4, 0), line(0, 0, 8, 0), FINE) == pytest.approx(0.5, abs=2e-3)


def test_half_of_a_line_at_100_points_exactly():
    """Steps of 4/99 and 8/99 m. Of the half every other point lies between two of the whole, 4/99
    from both: 2/99 on average. Of the whole the first 50 points coincide with points of the half;
    the rest, k = 50..99, are 8 k / 99 - 4 from its end: 10000/99 in sum, 100/99 on average.
    CD = (2 + 100) / 2 / 99 = 51/99 m: too far at 0.5 m, near enough at 1.0 and 1.5 m.
    """
    half, whole = line(0, 0, 4, 0), line(0, 0, 8, 0)
    assert distance(half, whole) == pytest.approx(51 / 99, abs=1e-12)
    result = table({'a': (lines(half), lines(whole))}, ('divider',))
    assert result.ap.tolist() == [[0.0, 1.0, 1.0]]


SQUARE = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4], [0, 0]])


def test_ring_that_starts_at_the_next_corner():
    """Perimeter 16 m, 99 steps of h = 16/99 m; the next corner is 24.75 steps on, so that every
    point of one ring is a quarter of a step from a point of the other, on the same edge: CD = h/4.
    """
    turned = np.concatenate([SQUARE[1:], SQUARE[1:2]])
    assert distance(SQUARE, turned) == pytest.approx(4 / 99, abs=1e-12)
    result = table({'a': (lines(turned), lines(SQUARE))}, ('divider',))
    assert result.ap.tolist() == [[1.0, 1.0, 1.0]]


def test_ring_that_starts_some_steps_on_is_the_same_ring():
    for mode in MODES.values():
        ring = resample([SQUARE], mode.num_points)[0]
        turned = np.concatenate([ring[7:], ring[1:8]])
        assert chamfer_distances(ring[None], turned[None]) == pytest.approx(0.0, abs=1e-12)


def test_reversed_ring_is_the_same_ring():
    for mode in MODES.values():
        assert distance(SQUARE, SQUARE[::-1], mode) == pytest.approx(0.0, abs=1e-12)
        result = table({'a': (lines(SQUARE[::-1]), lines(SQUARE))}, ('divider',), mode)
        assert result.ap.tolist() == [[1.0, 1.0, 1.0]]


def test_crossing_that_the_edge_of_the_patch_cuts():
    """
    12      15      18
    +-------+- - - -+  4     truth: what the patch keeps of the crossing, a closed ring of 14 m
    |       |       |
    +-------+- - - -+  0     prediction: the whole outline, 20 m

    Of the prediction 10 m lie on the truth, two pieces of 3 m are 0..3 m away and the far edge of
    4 m is 3 m away: (6 * 1.5 + 4 * 3) / 20 = 1.05 m. Of the truth only the edge along the patch,
    4 of 14 m, is off the prediction, 1 m on average: 4/14 m. CD = (1.05 + 4/14) / 2 = 0.6679 m.
    """
    whole = shapely.box(12, 0, 18, 4)
    found = MapIndex(MapLayers(ped_crossings=[whole])).extract(np.eye(4), (-15, -30, 15, 30))
    (cut,) = found['ped_crossing']
    assert shapely.Polygon(cut).equals(shapely.box(12, 0, 15, 4))
    assert np.array_equal(cut[0], cut[-1])
    outline = shapely.get_coordinates(whole)
    assert distance(outline, cut, FINE) == pytest.approx((1.05 + 4 / 14) / 2, abs=5e-3)
    result = table({'a': (lines(outline), lines(cut))}, ('ped_crossing',))
    assert result.ap.tolist() == [[0.0, 1.0, 1.0]]


def test_crossing_without_the_edge_along_the_patch():
    """Three sides of a ring of 14 m: only the missing edge of 4 m is 1 m away on average."""
    ring = np.array([[15.0, 0], [12, 0], [12, 4], [15, 4], [15, 0]])
    assert distance(ring[:4], ring, FINE) == pytest.approx(4 / 14 / 2, abs=5e-3)


def test_distance_ignores_direction_and_is_symmetric():
    bent = np.array([[0.0, 0], [3, 0], [3, 4]])
    other = line(0.2, 0.1, 3, 1)
    assert distance(bent, other) == pytest.approx(distance(bent[::-1], other), abs=1e-12)
    assert distance(bent, other) == pytest.approx(distance(other, bent), abs=1e-12)


def test_pairs_out_of_reach_are_not_computed_and_nothing_changes():
    rng = np.random.default_rng(0)
    walk = rng.normal(size=(30, 6, 2)).cumsum(axis=1) + rng.uniform(-4, 4, (30, 1, 2))
    pred, true = lines(*walk[:18]), lines(*walk[12:])
    mode = ChamferMode()
    some = line_distances(pred, true, mode)
    every = line_distances(pred, true, ChamferMode(thresholds_m=(1e9,)))
    reachable = np.isfinite(some)
    assert 0 < reachable.sum() < 0.5 * reachable.size
    assert np.isfinite(every).all()
    assert np.array_equal(some[reachable], every[reachable])
    assert (every[~reachable] > 1.5).all()


def test_gate_loses_short_collinear_pieces():
    """MapTR's flat-capped buffers of pieces in line do not meet although CD is small."""
    a, b = line(0, 0, 0.5, 0), line(0.8, 0, 1.3, 0)
    assert distance(a, b, MODES['streammapnet']) == pytest.approx(0.55, abs=0.01)
    assert np.isinf(distance(a, b, MODES['maptr']))
    assert distance(line(0, 0, 9, 0), line(0, 1, 9, 1)) == pytest.approx(1.0, abs=1e-9)


def test_prediction_has_no_second_choice():
    """Two predictions nearest to the same truth: the better scored wins, the other is wrong."""
    distances = np.array([[0.4, 0.45], [0.1, 0.6]])
    hits = match_lines(distances, np.array([0.9, 0.8]), (0.5,))
    assert hits.tolist() == [[True, False]]


def test_ties_in_score_keep_the_order():
    hits = match_lines(np.array([[0.3], [0.1]]), np.array([0.5, 0.5]), (0.5, 0.2))
    assert hits.tolist() == [[True, False], [False, True]]


def table(samples, classes=('divider', 'boundary'), mode=MODE):
    """AP of {token: (pred, true)}."""
    found = {t: match_sample(p, g, len(classes), mode) for t, (p, g) in samples.items()}
    return score_matches(found, classes, np.tile(mode.thresholds_m, (len(classes), 1)))


@pytest.mark.parametrize('mode', MODES.values(), ids=MODES)
def test_identity_scores_one(mode):
    true = lines(line(-5, -20, -5, 20), line(3, -30, 6, 30), SQUARE, labels=[0, 1, 1])
    assert table({'a': (true, true)}, mode=mode).flat() == {
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
