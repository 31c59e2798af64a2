# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The benchmark of the map extraction: its city, its straightforward version, its figures."""

import argparse
import importlib
from pathlib import Path

import numpy as np
import pytest

TOOLS = Path(__file__).parents[2] / 'tools'


@pytest.fixture
def part(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module('benchmarks.map_extraction')


def test_the_city_has_the_records_of_boston(part):
    tables, poses = part.made_city(0)
    counts = {name: len(tables[name]) for name in ('road_segment', 'lane', 'ped_crossing')}
    assert counts == {'road_segment': 928, 'lane': 1215, 'ped_crossing': 340}
    assert len(tables['road_divider']) + len(tables['lane_divider']) == 377 + 671
    layers = part.layers_of_tables(tables)
    assert layers.num_unusable == {}
    again, _ = part.made_city(0)
    assert again == tables
    records = part.records_near(layers, poses[::50])
    assert records.min() < 10 < 25 < records.max()


def test_figures(part):
    figures = part.measure(argparse.Namespace(seed=0, quick=True))
    assert figures.keys() == part.FIGURES.keys()
    assert all(np.isfinite(value) and value > 0 for value in figures.values())


def test_a_difference_is_not_overlooked(part):
    tables, poses = part.made_city(0)
    index = part.MapIndex(part.layers_of_tables(tables))
    fewer = tables | {'lane_divider': [], 'road_divider': []}
    with pytest.raises(RuntimeError, match='divider at .*record by record'):
        part.check_same(index, part.RecordByRecord(fewer), poses[0])
