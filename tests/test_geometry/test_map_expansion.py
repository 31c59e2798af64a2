# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Reading the map expansion."""

import json

import pytest

from nexusflow.geometry.map_expansion import load_map_expansion

NODES = {
    'a': (0, 0),
    'b': (10, 0),
    'c': (10, 10),
    'd': (0, 10),
    'e': (2, 2),
    'f': (4, 2),
    'g': (4, 4),
}


def city():
    return {
        'version': '1.3',
        'node': [{'token': k, 'x': x, 'y': y} for k, (x, y) in NODES.items()],
        'polygon': [
            {
                'token': 'p',
                'exterior_node_tokens': ['a', 'b', 'c', 'd'],
                'holes': [{'node_tokens': ['e', 'f', 'g']}, {'node_tokens': []}],
            },
            {'token': 'q', 'exterior_node_tokens': ['e', 'f', 'g'], 'holes': []},
        ],
        'line': [
            {'token': 'l', 'node_tokens': ['a', 'b', 'c']},
            {'token': 'empty', 'node_tokens': []},
        ],
        'road_segment': [{'token': 'r', 'polygon_token': 'p'}],
        'lane': [{'token': 's', 'polygon_token': 'q'}],
        'ped_crossing': [{'token': 't', 'polygon_token': 'q'}],
        'road_divider': [{'token': 'u', 'line_token': 'l'}, {'token': 'v', 'line_token': 'empty'}],
        'lane_divider': [],
    }


def test_geometry(tmp_path):
    path = tmp_path / 'town.json'
    path.write_text(json.dumps(city()))
    layers = load_map_expansion(path)
    assert [g.area for g in layers.road_surface] == [98.0, 2.0]
    assert [g.area for g in layers.ped_crossings] == [2.0]
    assert [list(g.coords) for g in layers.dividers] == [[(0, 0), (10, 0), (10, 10)]]


def test_empty_layers(tmp_path):
    path = tmp_path / 'town.json'
    path.write_text(json.dumps({key: [] for key in city()}))
    layers = load_map_expansion(path)
    assert not (layers.road_surface or layers.ped_crossings or layers.dividers)


def test_bad_files(tmp_path):
    path = tmp_path / 'expansion' / 'town.json'
    path.parent.mkdir()
    with pytest.raises(FileNotFoundError, match=r'town.json is missing: unpack .*v1.3.zip into'):
        load_map_expansion(path)
    path.write_text('{"node": [')
    with pytest.raises(ValueError, match=r'town.json is not valid JSON .*unpack it again'):
        load_map_expansion(path)
    broken = city()
    del broken['lane_divider']
    path.write_text(json.dumps(broken))
    with pytest.raises(ValueError, match=r"no layer 'lane_divider'; unpack version 1.3"):
        load_map_expansion(path)
    broken = city()
    broken['polygon'][0]['exterior_node_tokens'] = ['a', 'zz', 'c']
    path.write_text(json.dumps(broken))
    with pytest.raises(ValueError, match=r"refers to 'zz', which it does not contain"):
        load_map_expansion(path)
