# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The score of a data set: per location, for any number of workers and any order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nexusflow.evaluation.functional import map_evaluation
from nexusflow.evaluation.functional.chamfer_ap import MODES, MapLines
from nexusflow.evaluation.functional.map_evaluation import MapProtocol, evaluate_map

CLASSES = ['divider', 'ped_crossing', 'boundary']
EMPTY = MapLines([], np.zeros(0, int), np.zeros(0))


def truth_at(x):
    """One element of each class; the crossing is a closed ring."""
    ring = np.array([[x, 0], [x + 2, 0], [x + 2, 5], [x, 5], [x, 0]], dtype=np.float32)
    divider, boundary = [[x - 2, -9], [x - 2, 9]], [[x + 4, -9], [x + 5, 9]]
    pts = [np.array(divider, np.float32), ring, np.array(boundary, np.float32)]
    return MapLines(pts, np.arange(3), np.ones(3))


@pytest.fixture
def truth():
    return {'a': truth_at(0.0), 'b': truth_at(3.0)}


@pytest.mark.parametrize('mode', MODES)
def test_truth_scores_one_by_every_measure(truth, mode):
    scores = evaluate_map(truth, truth, CLASSES, MapProtocol.of(mode, True, True))['all'].flat()
    assert set(scores.values()) == {1.0}
    names = {'mAP', 'AP_divider', 'AP_boundary@1.5', 'raster_mAP', 'raster_AP_divider@0.25'}
    names |= {'IoU_lanes', 'IoU_divider', 'IoU_crossing', 'IoU_contour'}
    assert names <= set(scores)


def test_locations_are_scored_apart(truth):
    places = {'a': 'boston-seaport', 'b': 'singapore-onenorth'}
    protocol = MapProtocol.of('maptr', raster=True)
    scores = evaluate_map({'a': truth['a'], 'b': EMPTY}, truth, CLASSES, protocol, places)
    means = {name: own.flat()['mAP'] for name, own in scores.items()}
    assert means == {'all': 0.5, 'boston-seaport': 1.0, 'singapore-onenorth': 0.0}
    lanes = {name: own.flat()['IoU_lanes'] for name, own in scores.items()}
    assert (lanes['boston-seaport'], lanes['singapore-onenorth']) == (1.0, 0.0)
    assert 0.3 < lanes['all'] < 0.7
    assert scores['boston-seaport'].chamfer.num_gt.tolist() == [1, 1, 1]


def test_missing_and_unknown_samples_are_named(truth):
    with pytest.raises(ValueError, match=r'1 samples without a prediction.*e\.g\. b'):
        evaluate_map({'a': truth['a']}, truth, CLASSES)
    with pytest.raises(ValueError, match=r'1 samples predicted, but not in the ground truth.*z'):
        evaluate_map({**truth, 'z': truth['a']}, truth, CLASSES)
    with pytest.raises(ValueError, match=r"unknown map evaluation mode 'iou'; known"):
        MapProtocol.of('iou')


def test_predictions_that_cannot_be_judged_are_refused(truth):
    broken = replace(truth['a'], scores=np.array([1.0, np.nan, 1.0]))
    with pytest.raises(ValueError, match=r'sample a: coordinates or scores are NaN'):
        evaluate_map({**truth, 'a': broken}, truth, CLASSES)
    unknown = replace(truth['a'], labels=np.array([0, 1, 7]))
    with pytest.raises(ValueError, match=r'sample a: label 7 is no class'):
        evaluate_map({**truth, 'a': unknown}, truth, CLASSES)


def test_workers_and_order_make_no_difference(monkeypatch):
    """Bit by bit; scores are full of ties and jobs are small."""
    monkeypatch.setattr(map_evaluation, '_SAMPLES_PER_JOB', 3)
    rng = np.random.default_rng(0)
    truth, found, places = {}, {}, {}
    for k in range(8):
        token = f'{k:02d}'
        lines = truth_at(float(rng.uniform(-9, 9)))
        moved = [pts + rng.normal(scale=0.6, size=2) for pts in [*lines.pts_m, *lines.pts_m]]
        scores = rng.integers(1, 4, 6) / 4
        truth[token], found[token] = lines, MapLines(moved, np.tile(lines.labels, 2), scores)
        places[token] = 'east' if k % 3 else 'west'
    protocol = MapProtocol.of('maptr', raster=True, raster_ap=True)

    def flat(samples, workers):
        scores = evaluate_map(samples, truth, CLASSES, protocol, places, workers)
        return {place: own.flat() for place, own in scores.items()}

    expected = flat(found, 1)
    assert set(expected) == {'all', 'east', 'west'}
    assert 0 < expected['all']['mAP'] < 1 and 0 < expected['all']['raster_mAP'] < 1
    turned = {token: found[token] for token in rng.permutation(list(found)).tolist()}
    assert list(turned) != list(found)
    assert flat(turned, 1) == expected
    assert flat(found, 2) == flat(turned, 3) == expected
    subset = [token for token in truth if places[token] == 'west']
    own = evaluate_map(
        {t: found[t] for t in subset}, {t: truth[t] for t in subset}, CLASSES, protocol
    )
    assert own['all'].flat() == expected['west']
