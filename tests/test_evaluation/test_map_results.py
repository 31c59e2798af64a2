# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Map result files and the score of a data set."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from nexusflow.evaluation.functional.chamfer_ap import MapLines
from nexusflow.evaluation.functional.map_results import (
    evaluate_map,
    ground_truth_lines,
    read_map_results,
    write_map_results,
)

CLASSES = ['divider', 'ped_crossing', 'boundary']


def sample(token, location, x=0.0):
    ring = np.array([[x, 0], [x + 2, 0], [x + 2, 5], [x, 5], [x, 0]], dtype=np.float32)
    vectors = {'divider': [np.array([[x, -9], [x, 9]], np.float32)], 'ped_crossing': [ring]}
    return {
        'token': token,
        'location': location,
        'map_vectors': vectors | {'boundary': [np.array([[x + 4, -9], [x + 5, 9]], np.float32)]},
    }


@pytest.fixture
def truth():
    samples = [sample('a', 'boston-seaport'), sample('b', 'singapore-onenorth', 3.0)]
    return ground_truth_lines(samples, CLASSES)


def test_file_round_trip_scores_one(tmp_path, truth):
    path = tmp_path / 'new' / 'map.json'
    write_map_results(path, truth, CLASSES)
    assert [p.name for p in path.parent.iterdir()] == ['map.json']
    found = read_map_results(path, CLASSES)
    assert evaluate_map(found, truth, CLASSES)['all'].mean == 1.0
    assert np.allclose(found['a'].pts_m[1], truth['a'].pts_m[1], atol=1e-4)
    assert evaluate_map(found, truth, CLASSES, 'streammapnet')['all'].mean == 1.0


def test_locations_are_scored_apart(truth):
    places = {'a': 'boston-seaport', 'b': 'singapore-onenorth'}
    empty = MapLines([], np.zeros(0, int), np.zeros(0))
    tables = evaluate_map({'a': truth['a'], 'b': empty}, truth, CLASSES, locations=places)
    means = {name: table.mean for name, table in tables.items()}
    assert means == {'all': 0.5, 'boston-seaport': 1.0, 'singapore-onenorth': 0.0}


def test_missing_and_unknown_samples_are_named(truth):
    with pytest.raises(ValueError, match=r'1 samples without a prediction.*e\.g\. b'):
        evaluate_map({'a': truth['a']}, truth, CLASSES)
    with pytest.raises(ValueError, match=r'1 samples predicted, but not in the ground truth.*z'):
        evaluate_map({**truth, 'z': truth['a']}, truth, CLASSES)
    with pytest.raises(ValueError, match=r"unknown map evaluation mode 'iou'; known"):
        evaluate_map(truth, truth, CLASSES, 'iou')


def test_nan_is_not_scored(truth):
    broken = replace(truth['a'], scores=np.array([1.0, np.nan, 1.0]))
    with pytest.raises(ValueError, match=r'sample a: coordinates or scores are NaN'):
        evaluate_map({**truth, 'a': broken}, truth, CLASSES)


def test_unknown_map_is_an_error():
    unknown = sample('a', 'x') | {'map_vectors': None}
    with pytest.raises(ValueError, match=r'val\.pkl: sample a has no map .*map expansion'):
        ground_truth_lines([unknown], CLASSES, 'val.pkl')
    with pytest.raises(ValueError, match=r"no map class \['centerline'\]"):
        ground_truth_lines([sample('a', 'x')], ['centerline'])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'frame': 'ego'}, r"map\.json: meta\.frame is 'ego'.*'lidar'"),
        ({'schema': 'maptr'}, r"meta\.schema is 'maptr'"),
        ({'schema_version': 9}, r'version 9, expected'),
        ({'map_classes': ['divider']}, r"meta\.map_classes is \['divider'\]"),
    ],
)
def test_other_meta_is_refused(tmp_path, truth, change, message):
    path = tmp_path / 'map.json'
    write_map_results(path, truth, CLASSES)
    content = json.loads(path.read_text())
    content['meta'] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_map_results(path, CLASSES)


def test_broken_results_are_refused(tmp_path, truth):
    path = tmp_path / 'map.json'
    path.write_text('{"results": ')
    with pytest.raises(ValueError, match=r'map\.json: not a JSON file'):
        read_map_results(path)
    path.write_text('{"results": {}}')
    with pytest.raises(ValueError, match=r"no 'meta' and 'results'"):
        read_map_results(path)
    write_map_results(path, truth, CLASSES)
    content = json.loads(path.read_text())
    del content['results']['a']['scores']
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"results\['a'\]: no field \['scores'\]"):
        read_map_results(path)
    content['results']['a']['scores'] = [0.5]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r'numbers of lines, labels and scores differ'):
        read_map_results(path)
