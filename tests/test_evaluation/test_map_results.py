# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Map result files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nexusflow.evaluation.functional.map_results import (
    check_lines,
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


def test_file_round_trip(tmp_path, truth):
    path = tmp_path / 'new' / 'map.json'
    write_map_results(path, truth, CLASSES)
    assert [p.name for p in path.parent.iterdir()] == ['map.json']
    found = read_map_results(path, CLASSES)
    assert list(found) == ['a', 'b']
    for token, lines in truth.items():
        for pts, expected in zip(found[token].pts_m, lines.pts_m, strict=True):
            assert np.allclose(pts, expected, atol=1e-4)
        assert found[token].labels.tolist() == lines.labels.tolist() == [0, 1, 2]
        assert found[token].scores.tolist() == [1.0, 1.0, 1.0]


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
        ({'map_classes': None}, r'meta\.map_classes must list the names'),
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


def test_what_is_no_result_file_is_refused(tmp_path):
    path = tmp_path / 'map.json'
    path.write_text('{"results": ')
    with pytest.raises(ValueError, match=r'map\.json: not a JSON file'):
        read_map_results(path)
    path.write_text('{"results": {}}')
    with pytest.raises(ValueError, match=r"no 'meta' and 'results'"):
        read_map_results(path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'scores': None}, r"results\['a'\]: no field \['scores'\]"),
        ({'scores': [0.5]}, r'numbers of lines, labels and scores differ: \[3, 3, 1\]'),
        ({'scores': [[0.5]] * 3}, r'scores must be a list of numbers, got shape \(3, 1\)'),
        ({'scores': [0.5, 0.1, float('nan')]}, r'coordinates or scores are NaN'),
        ({'labels': [0, 1, 3]}, r'label 3 is no class; the 3 classes are 0 to 2'),
        ({'labels': [0, -1, 1]}, r'label -1 is no class'),
        ({'labels': [0, 1, 1.5]}, r'labels must be a list of whole numbers'),
        ({'labels': ['divider', 0, 0]}, r'labels: not numbers'),
        ({'pts_m': [[[0, 0, 0], [1, 1, 1]]] * 3}, r'pts_m\[0\] has shape \(2, 3\), expected'),
        ({'pts_m': [[[0, 0], [1, 1]], [[0, 0]]] * 3}, r'numbers of lines'),
        ({'pts_m': [[[0, 0], [1, 1]], [[0, 0]], []]}, r'pts_m\[1\] has shape \(1, 2\)'),
        ({'pts_m': [[[0, 0], [1]]] * 3}, r'pts_m\[0\]: not numbers in a regular shape'),
    ],
)
def test_broken_samples_are_refused(tmp_path, truth, change, message):
    path = tmp_path / 'map.json'
    write_map_results(path, truth, CLASSES)
    content = json.loads(path.read_text())
    result = content['results']['a'] | change
    content['results']['a'] = {k: v for k, v in result.items() if v is not None}
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"map\.json: results\['a'\].*{message.split(': ')[-1]}"):
        read_map_results(path)


def test_lines_in_memory_are_checked_too(truth):
    check_lines(truth['a'], 3, 'here')
    with pytest.raises(ValueError, match='here: label 2 is no class; the 2 classes are 0 to 1'):
        check_lines(truth['a'], 2, 'here')
