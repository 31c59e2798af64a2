# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""SVG charts and the logs that feed them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from nexusflow.visualization.charts import Series, line_chart, nice_ticks
from nexusflow.visualization.curves import curve_charts, read_scalars


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
    assert [r['step'] for r in records] == [*range(10, 610, 10), 600]
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
