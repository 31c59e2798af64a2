# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Matching of all scenes and thresholds at once, against motmetrics' loop over frames."""

from __future__ import annotations

import numpy as np
import pytest
from motmetrics import MOTAccumulator

from nexusflow.evaluation.functional.box_columns import BoxColumns
from nexusflow.evaluation.functional.clear_mot import boxes_per_frame, match_tracks
from nexusflow.evaluation.functional.tracking_pairs import find_pairs

LIMIT_M = 2.0
STEPS = np.tile(np.arange(8), 3)  # three scenes of eight frames


def random_boxes(rng, tracks, extent, grid):
    """Boxes of random tracks in a small field, so that many compete; on a grid distances tie."""
    rows = []
    for frame, step in enumerate(STEPS):
        scene = frame // 8
        order = rng.permutation(tracks)[: rng.integers(0, tracks + 1)]
        rows += [(frame, scene * tracks + k, step) for k in order]
    frame, track, _ = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    center = rng.uniform(0, extent, (len(frame), 3))
    center = center.round() if grid else center
    scores = rng.choice([0.1, 0.3, 0.5, 0.9], len(frame))
    return BoxColumns(frame, track, np.zeros(len(frame), np.int64), center, scores)


def by_motmetrics(true, pred, threshold):
    """(frame, object) -> (type, predicted track, distance) of one threshold."""
    out = {}
    for scene in range(3):
        accumulator = MOTAccumulator()
        for frame in range(scene * 8, scene * 8 + 8):
            ours, theirs = true.frame == frame, (pred.frame == frame) & (pred.score >= threshold)
            objects, tracks = true.track[ours], pred.track[theirs]
            offset = true.center[ours, None, :2] - pred.center[None, theirs, :2]
            distance = np.hypot(offset[..., 0], offset[..., 1])
            distance[distance >= LIMIT_M] = np.nan
            accumulator.update(objects, tracks, distance, frameid=frame)
        for (frame, _), event in accumulator.events.iterrows():
            if event.Type in ('MATCH', 'SWITCH', 'MISS'):
                found = event.Type != 'MISS'
                key = (frame, int(event.OId))
                out[key] = (event.Type, int(event.HId) if found else -1, event.D if found else 0.0)
    return out


@pytest.mark.parametrize('grid', [False, True])
@pytest.mark.parametrize('seed', range(4))
def test_matches_are_those_of_motmetrics(seed, grid):
    """On the grid many assignments are equally good; even then the choice is the same."""
    rng = np.random.default_rng(seed)
    tracks = int(rng.integers(2, 9))
    extent = rng.choice([3.0, 6.0])
    true, pred = (random_boxes(rng, tracks, extent, grid) for _ in range(2))
    thresholds = np.array([-np.inf, 0.3, 0.9])
    pairs = find_pairs(true, pred, LIMIT_M)
    matches = match_tracks(true, pred, pairs, thresholds, STEPS)
    kinds = set()
    for column, threshold in enumerate(thresholds):
        expected = by_motmetrics(true, pred, threshold)
        assert len(expected) == len(true)
        for row, key in enumerate(zip(true.frame, true.track, strict=True)):
            kind, track, distance = expected[key]
            kinds.add(kind)
            found = matches.pred[row, column]
            assert (track, kind == 'SWITCH') == (
                pred.track[found] if found >= 0 else -1,
                matches.switched[row, column],
            )
            assert matches.distance[row, column] == pytest.approx(distance, abs=1e-7)
    assert kinds == {'MATCH', 'SWITCH', 'MISS'}


def one_class(frames, tracks, places, scores=None):
    """Boxes on a line."""
    center = np.zeros((len(frames), 3))
    center[:, 0] = places
    scores = np.ones(len(frames)) if scores is None else np.array(scores)
    labels = np.zeros(len(frames), np.int64)
    return BoxColumns(np.array(frames), np.array(tracks), labels, center, scores)


def test_an_object_stays_with_its_prediction_though_another_is_nearer():
    true = one_class([0, 1, 2], [0, 0, 0], [0.0, 0.0, 0.0])
    pred = one_class([0, 1, 1, 2], [5, 5, 6, 6], [0.0, 1.5, 0.1, 0.0])
    pairs = find_pairs(true, pred, LIMIT_M)
    matches = match_tracks(true, pred, pairs, np.array([0.0]), np.arange(3))
    assert pred.track[matches.pred[:, 0]].tolist() == [5, 5, 6]
    assert matches.switched[:, 0].tolist() == [False, False, True]
    assert matches.distance[:, 0] == pytest.approx([0.0, 1.5, 0.0])


def test_of_two_objects_the_first_gets_back_the_prediction_that_both_had():
    """Both were with track 5 once; in frame 2 both are near it."""
    true = one_class([0, 1, 2, 2], [0, 1, 1, 0], [0.0, 0.0, 0.0, 0.1])
    pred = one_class([0, 1, 2], [5, 5, 5], [0.0, 0.0, 0.1])
    pairs = find_pairs(true, pred, LIMIT_M)
    matches = match_tracks(true, pred, pairs, np.array([0.0]), np.arange(3))
    assert matches.pred[:, 0].tolist() == [0, 1, 2, -1]
    assert not matches.switched.any()


def test_a_lone_box_has_the_distance_of_a_product_with_one_column():
    """At large coordinates BLAS rounds that one otherwise; the official distances show it."""
    rng = np.random.default_rng(0)
    from sklearn.metrics.pairwise import euclidean_distances

    places = rng.uniform(300, 2500, (40, 3))
    true = BoxColumns(np.zeros(40, int), np.arange(40), np.zeros(40, int), places, -np.ones(40))
    pred = BoxColumns(np.zeros(40, int), np.arange(40), np.zeros(40, int), places, np.arange(40.0))
    pairs = find_pairs(true, pred, 0.01)
    among = euclidean_distances(places[:, :2], places[:, :2].copy())
    alone = euclidean_distances(places[:, :2], places[39:, :2].copy())
    assert (pairs.distance == among[pairs.true, pairs.pred]).all()
    last = pairs.pred == 39
    assert (pairs.distance_alone[last] == alone[pairs.true[last], 0]).all()
    assert (pairs.distance_alone[~last] == pairs.distance[~last]).all()


def test_boxes_are_counted_per_frame():
    boxes = one_class([0, 0, 2], [0, 1, 0], [0.0, 0.0, 0.0], [0.2, 0.8, 0.8])
    active = boxes.score[:, None] >= np.array([0.1, 0.5])
    assert boxes_per_frame(boxes, active, 4).tolist() == [[2, 1], [0, 0], [1, 1], [0, 0]]
    nothing = boxes.take(np.zeros(3, bool))
    assert boxes_per_frame(nothing, active[:0], 2).tolist() == [[0, 0], [0, 0]]
