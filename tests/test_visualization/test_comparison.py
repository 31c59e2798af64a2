# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The page of a comparison: every part is there, of runs made by hand."""

import json
import re
import shutil

import numpy as np
import pytest

from nexusflow.evaluation.feature_analysis import analyse_space
from nexusflow.visualization.comparison import write_comparison
from nexusflow.visualization.marks import DotRow, Points, dot_chart, scatter_chart

METRICS = [
    dict(key='map/mAP', label='mAP', more=True, digits=3, headline=True),
    dict(key='track/AMOTP', label='AMOTP', more=False, digits=2, headline=False),
]
VALUES = {'full': (0.6, 0.7), 'baseline': (0.2, 0.3), 'nexusflow': (0.4, 0.3), 'mtpsl': (0.21,)}
PICTURES = dict(info_file='infos.pkl', map_file='map.json', tracking_file='tracks.json')


def write_analysis(folder, seed):
    import torch

    torch.manual_seed(seed)
    rows = {'map': torch.randn(12, 4), 'track': torch.randn(12, 4)}
    points = {task: vectors[:, :2].tolist() for task, vectors in rows.items()}
    content = dict(
        places=['boston-seaport'] * 6 + ['singapore-onenorth'] * 6,
        spaces=dict(pooled=analyse_space(rows), z=analyse_space(rows)),
        tsne=dict(pooled=points, z=points),
    )
    (folder / 'analysis').mkdir()
    (folder / 'analysis' / 'analysis.json').write_text(json.dumps(content))


@pytest.fixture(scope='module')
def work_dir(drawn_data, tmp_path_factory):
    """Runs of which two have logs, results and an analysis."""
    folder = tmp_path_factory.mktemp('compare')
    for seed, name in enumerate(drawn_data.methods):
        shutil.copytree(drawn_data.root / name, folder / 'runs' / f'{name}-seed0')
        write_analysis(folder / 'runs' / f'{name}-seed0', seed)
    return folder


@pytest.fixture
def results():
    methods = {}
    for name, values in VALUES.items():
        runs = {}
        for seed, value in enumerate(values):
            metrics = {'map/mAP': value, 'map/boston-seaport/mAP': value / 2, 'track/AMOTP': 1.5}
            cost = dict(step_s=0.5, peak_mb=900.0, parameters=3_000_000, parameters_inference=10**6)
            runs[str(seed)] = dict(metrics=metrics, cost=cost, seconds=dict(train=60.0, test=6.0))
            runs[str(seed)] |= dict(machine=['this'])
            runs[str(seed)] |= dict(code=['abc'], folders=[f'runs/{name}-seed{seed}'], analysis={})
        labels = {} if name == 'full' else {'map': ['singapore']}
        methods[name] = dict(
            label=f'<{name}>', group='Others' if name == 'mtpsl' else '', baseline='baseline',
            reference='full', labels=labels, seeds=[0, 1], runs=runs, missing={},
        )  # fmt: skip
    methods['mtpsl']['missing'] = {'1': 'not run'}
    return dict(
        name='x', title='Methods & more', delta=False, metrics=METRICS, methods=methods,
        cities=dict(boston=dict(map='boston-seaport')),
    )  # fmt: skip


@pytest.fixture
def page(results, work_dir, drawn_data, tmp_path):
    args = (work_dir, PICTURES, drawn_data.root, 'compare "x & y"')
    return write_comparison(tmp_path / 'report.html', results, *args).read_text()


def test_figures_with_spread_marks_and_costs(page):
    assert '<h1>Methods &amp; more</h1>' in page and '&lt;nexusflow&gt;' in page
    assert '>0.350<span class="below">± 0.071<' in page
    assert '>0.210<span class="below">(n=1)<' in page
    # the city without map labels is tinted, for those that had none only
    assert re.search(r'class="unseen[^"]*">0.175<span class="below">± 0.035<', page)
    assert '<td>0.325<span class="below">± 0.035<' in page
    # from 0.25 to 0.35, where the gap ends at 0.65
    assert '<td>25 %</td>' in page and '<td>1/2</td>' in page and '<td>3.00</td>' in page
    assert 'seed 1 (not run)' in page and 'compare &quot;x &amp; y&quot;' in page


def test_charts_of_gap_training_and_features(page):
    titles = re.findall(r'aria-label="([^"]*)"', page)
    assert titles[:2] == ['mAP, whole validation set', 'mAP, boston']
    for title in ('total loss', 'align distance', '&lt;baseline&gt; (z)', '&lt;nexusflow&gt; (z)'):
        assert title in titles
    assert {'spectrum, pooled, map', 'spectrum, z, track'} < set(titles)
    assert 'pooled: MMD² map-track' in page and 'z: rank track' in page
    assert '○ boston-seaport' in page and '× singapore-onenorth' in page


def test_pictures_are_of_the_methods_that_have_results(
    page, results, work_dir, drawn_data, tmp_path
):
    alts = re.findall(r'alt="([^"]*)"', page)
    assert sum(alt.startswith('ground truth') for alt in alts) == 4  # two samples of each city
    assert sum('&lt;nexusflow&gt;' in alt for alt in alts) == 4
    assert not any('&lt;full&gt;' in alt or '&lt;mtpsl&gt;' in alt for alt in alts)
    other = {**PICTURES, 'info_file': 'none.pkl'}
    path = write_comparison(tmp_path / 'r.html', results, work_dir, other, drawn_data.root)
    assert '<img' not in path.read_text()


def test_page_of_figures_alone(results, tmp_path):
    page = write_comparison(tmp_path / 'r.html', results, tmp_path / 'nowhere').read_text()
    assert 'No training was logged' in page and 'No features were analysed' in page
    assert not re.search(r'(src|href|action)\s*=\s*"?\s*(https?:)?//', page)
    for method in results['methods'].values():
        method['runs'] = {}
    with pytest.raises(ValueError, match='no run is finished'):
        write_comparison(tmp_path / 'r.html', results, tmp_path)


def test_dots_and_strokes_stand_where_the_values_are():
    chart = dot_chart('t', [DotRow('a', 'red', [0.0, 100.0], 50.0)], 'x', (0.0, 100.0))
    dots = [float(u) for u in re.findall(r'circle cx="([\d.]+)"', chart)]
    marks = [
        float(u) for u in re.findall(r'x1="([\d.]+)" x2="[\d.]+" y1="[\d.]+" y2="[\d.]+"', chart)
    ]
    assert dots == marks[:2] and marks[2] == pytest.approx(sum(dots) / 2, abs=0.1)


def test_scatter_keeps_the_shape_of_the_plane():
    xy = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    chart = scatter_chart('t', [Points('red', 'cross', xy)])
    starts = np.array(re.findall(r'M([\d.]+) ([\d.]+)l5 5', chart), dtype=float)
    right, up = starts[1] - starts[0], starts[2] - starts[0]
    assert right[0] > 0 and right[1] == 0 and up[0] == 0 and up[1] < 0
    assert 1.5 < right[0] / -up[1] < 2.6
    assert scatter_chart('t', [Points('red', m, xy[:1]) for m in ('circle', 'square', 'triangle')])
