# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""SVG charts and the logs that feed them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from nexusflow.flows.diagnostics import alignment_scalars
from nexusflow.visualization.charts import Series, line_chart, nice_ticks
from nexusflow.visualization.curves import curve_charts, diagnostic_charts, read_scalars


@pytest.mark.parametrize(
    ('low', 'high', 'ticks'),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (3, 47, [10, 20, 30, 40]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
    ],
)
def test_ticks_are_round(low, high, ticks):
    assert nice_ticks(low, high).tolist() == pytest.approx(ticks)


def path_points(svg):
    found = [e.attrib['d'] for e in ElementTree.fromstring(svg).iter('path')]
    return [[tuple(map(float, p.split())) for p in re.split('[ML]', d) if p.strip()] for d in found]


def test_line_goes_from_corner_to_corner():
    """y from 0 to its largest value plus 5 %; the plot spans u 52..408 and v 206..30."""
    chart = line_chart(
        't', [Series('#000', np.array([0, 10]), np.array([0.0, 2.0]))], from_zero=True
    )
    (points,) = path_points(chart)
    assert points[0] == (52.0, 206.0)
    assert points[1] == pytest.approx((408.0, 206 - 176 / 1.05), abs=0.06)


def test_gaps_and_many_points():
    y = np.ones(50)
    y[20] = np.nan
    faint, smooth = path_points(line_chart('t', [Series('#000', np.arange(50), y)]))
    assert len(faint) == 49
    assert len(smooth) == 50


def test_log_scale_and_escaped_title():
    series = [Series('#000', np.arange(4), np.array([1.0, 10, 0, 1000]))]
    chart = line_chart('a < b', series, log_scale=True)
    assert 'a &lt; b' in chart
    assert {'1', '10', '100', '1e+03'} <= set(re.findall(r'>([\de+]+)</text>', chart))


def test_logs_are_read_in_order_and_without_the_torn_line(drawn_data):
    records = read_scalars(drawn_data.methods['baseline']['work_dir'])
    assert [r['step'] for r in records if 'lr' in r] == list(range(10, 610, 10))
    assert records[-1]['step'] == 600 and 'map/mAP' in records[-1]
    assert read_scalars(drawn_data.root / 'nowhere') == []


def test_charts_sum_the_losses_of_a_task():
    steps = [{'lr': 0.1, 'loss_map_a': 1.0, 'loss_map_b': 2.0, 'step': s} for s in (1, 2)]
    (chart, rate) = curve_charts({'m': steps}, {'m': '#123456'})
    assert 'loss of task map' in chart
    assert '#123456' in chart
    assert 'learning rate' in rate
    assert curve_charts({}, {}) == []
    twice = [{'map/mAP': 0.1, 'step': 1}, {'map/mAP': 0.2, 'step': 2}]
    assert 'mAP on the validation set' in curve_charts({'m': twice}, {'m': '#000'})[0]


def test_diagnostics_that_stand_in_records_of_their_own_are_charted():
    """A line a task, told apart by its dashes; what is not known has its own chart."""
    steps = [{'lr': 0.1, 'loss': 1.0, 'step': s} for s in (10, 20)]
    for s in (10, 20):
        steps.append({'align/rank_z_map': 2.0 + s, 'align/rank_z_track': 3.0, 'step': s})
    steps.append(
        {'align/lemma_left_map_track': 1.0, 'align/lemma_right_map_track': 9.0, 'step': 20}
    )
    steps.append({'align/new': 1.0, 'step': 20})
    charts = diagnostic_charts({'m': steps, 'plain': steps[:2]}, {'m': '#123456', 'plain': '#000'})
    titles = [re.search('aria-label="([^"]*)"', chart)[1] for chart in charts]
    assert titles == ['effective rank of z', 'sides of Lemma 1', 'new']
    svg, key = charts[0].split('<figcaption')
    lines = [e.attrib for e in ElementTree.fromstring(svg).iter('path')]
    assert [line.get('stroke-dasharray') for line in lines] == [None, '7 4']
    assert {line['stroke'] for line in lines} == {'#123456'}
    assert [points[-1][0] for [*points] in path_points(svg)] == [408.0, 408.0]
    assert re.findall(r'>([a-z ]+)</span>', key) == ['map', 'track']
    assert re.findall(r'>([a-z ]+)</span>', charts[1]) == ['left map track', 'right map track']
    assert '<figcaption' not in charts[2]
    assert diagnostic_charts({'plain': steps[:2]}, {'plain': '#000'}) == []


def test_what_embeddings_tell_is_on_known_charts():
    rows = torch.randn(6, 4)
    scalars = alignment_scalars({task: [(rows, rows + 1)] for task in ('map', 'track')})
    steps = [{'step': 10, **{f'align/{name}': float(value) for name, value in scalars.items()}}]
    titles = [
        re.search('aria-label="([^"]*)"', c)[1] for c in diagnostic_charts({'m': steps}, {'m': ''})
    ]
    assert len(titles) == 9 and not set(titles) & set(scalars)
