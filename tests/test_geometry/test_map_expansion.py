# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Reading the map expansion."""

import json

import numpy as np
import pytest

from nexusflow.geometry.map_expansion import layers_of_tables, load_map_expansion

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
    assert layers.num_unusable == {'dividers': 1}


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


def straight(x, y, length):
    """A path to the east."""
    pose = {'start_pose': [x, y, 0.0], 'end_pose': [x + length, y, 0.0]}
    return {**pose, 'shape': 'LSL', 'radius': 900.0, 'segment_length': [0.0, length, 0.0]}


def city_with_lanes():
    """Lane s leads over connector c to lane w; lane x has no path."""
    tables = city()
    tables['lane'] += [{'token': t, 'polygon_token': 'q'} for t in 'wx']
    tables['lane_connector'] = [{'token': 'c', 'polygon_token': 'q'}]
    paths = {'s': [straight(0, 0, 4)], 'c': [straight(4, 0, 1), straight(5, 0, 2)]}
    tables['arcline_path_3'] = paths | {'w': [straight(7, 0, 3)], 'x': []}
    tables['connectivity'] = {
        's': {'incoming': [], 'outgoing': ['c', 'gone']},
        'w': {'incoming': ['c'], 'outgoing': []},
    }
    return tables


def test_centre_lines_and_their_links():
    layers = layers_of_tables(city_with_lanes(), centerlines=True)
    lanes = layers.lanes
    ends = [(line.coords[0][0], line.coords[-1][0]) for line in lanes.lines]
    assert ends == [(0, 4), (7, 10), (4, 7)]
    assert lanes.successors == [[2], [], [1]], 'a link is known from either of its lanes'
    assert layers.num_unusable == {'dividers': 1, 'lanes': 1}
    assert layers_of_tables(city_with_lanes()).lanes.lines == ()


def test_records_without_geometry_are_counted():
    tables = city()
    tables['polygon'] += [
        {'token': 'two', 'exterior_node_tokens': ['a', 'b'], 'holes': []},
        {'token': 'back', 'exterior_node_tokens': ['a', 'b', 'a'], 'holes': []},
        {'token': 'none', 'exterior_node_tokens': [], 'holes': [{'node_tokens': ['e', 'f', 'g']}]},
        {'token': 'closed', 'exterior_node_tokens': ['a', 'b', 'c', 'a'], 'holes': []},
    ]
    tokens = ('two', 'back', 'none', 'closed', 'p')
    tables['lane'] = [{'token': t, 'polygon_token': t} for t in tokens]
    tables['ped_crossing'] = tables['lane'][:1]
    layers = layers_of_tables(tables)
    assert [g.area for g in layers.road_surface] == [98, 50, 98]
    assert layers.num_unusable == {'road_surface': 3, 'ped_crossings': 1, 'dividers': 1}


def test_holes_belong_to_their_polygons():
    rng = np.random.default_rng(0)
    tables = {key: [] for key in city()}
    corners = np.array([(0, 0), (10, 0), (10, 10), (0, 10)])
    counts = [0, 2, 0, 1, 3]

    def nodes(points):
        first = len(tables['node'])
        tables['node'] += [
            {'token': first + i, 'x': float(x), 'y': float(y)} for i, (x, y) in enumerate(points)
        ]
        return list(range(first, len(tables['node'])))

    for k, count in enumerate(counts):
        origin = np.array([20.0 * k, rng.uniform(0, 5)])
        holes = [{'node_tokens': nodes(origin + corners / 10 + 2 * i + 1)} for i in range(count)]
        tables['polygon'].append(
            {'token': k, 'exterior_node_tokens': nodes(origin + corners), 'holes': holes}
        )
        tables['road_segment'].append({'token': k, 'polygon_token': k})
    areas = [g.area for g in layers_of_tables(tables).road_surface]
    np.testing.assert_allclose(areas, [100 - count for count in counts])


def test_bad_lanes():
    tables = city_with_lanes()
    tables['arcline_path_3']['s'][0]['shape'] = 'LSQ'
    with pytest.raises(ValueError, match=r"town: .*path is 'LSQ'; expected .*; unpack it again"):
        layers_of_tables(tables, 'town', centerlines=True)
    del tables['connectivity']
    assert layers_of_tables(tables).road_surface
    with pytest.raises(ValueError, match="town has no layer 'connectivity'"):
        layers_of_tables(tables, 'town', centerlines=True)
