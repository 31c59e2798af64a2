# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The report page: nothing from outside, every method's figures, curves and pictures."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from nexusflow.visualization.gallery import Gallery, pick_samples
from nexusflow.visualization.report import write_report

METRICS = {
    'baseline': {
        'all': {'mAP': 0.2114, 'AMOTA': 0.1516, 'AMOTP': 1.5, 'IDS': 12.0},
        'boston': {'mAP': 0.3111, 'AMOTA': 0.0517, 'IDS': 7.0},
        'singapore': {'mAP': 0.1118, 'AMOTA': None, 'IDS': 5.0},
    },
    'nexusflow': {
        'all': {'mAP': 0.2919, 'AMOTA': 0.2521, 'AMOTP': 1.2, 'IDS': 4.0},
        'boston': {'mAP': 0.3122, 'AMOTA': 0.1523, 'IDS': 3.0},
        'singapore': {'mAP': 0.2124, 'AMOTA': 0.3525, 'IDS': 1.0},
    },
    'full': {
        'all': {'mAP': 0.4926, 'AMOTA': 0.4527, 'AMOTP': 1.1, 'IDS': 2.0},
        'boston': {'mAP': 0.5128, 'AMOTA': 0.4529, 'IDS': 1.0},
        'singapore': {'mAP': 0.4731, 'AMOTA': 0.4532, 'IDS': 1.0},
    },
}
PARTIAL = {'map': ['boston'], 'track': ['singapore']}


def demo_result(drawn):
    methods = {
        'baseline': {'label': 'Baseline', 'labels': PARTIAL, 'seed': 3, 'seconds': 61.0},
        'nexusflow': {'label': 'NexusFlow <1>', 'labels': PARTIAL, 'seed': 4},
        'full': {'label': 'All labels', 'reference': True, 'seed': 5},
    }
    for name, method in methods.items():
        method |= {'metrics': METRICS[name]} | drawn.methods.get(name, {})
    return {
        'title': 'A comparison',
        'data_root': drawn.root,
        'info_file': drawn.info_file,
        'methods': methods,
        'commands': ['tools/train.py a.py --seed "1 & 2"'],
        'seconds': 125.2,
        'versions': {'torch': '2.13.0'},
        'machine': '2 cores',
    }


class Tags(HTMLParser):
    """Collects elements, and checks that they close in the order in which they open."""

    void = ('meta', 'img')

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope='module')
def page(drawn_data, tmp_path_factory):
    path = tmp_path_factory.mktemp('report') / 'report.html'
    assert write_report(path, demo_result(drawn_data), samples_per_city=1) == path
    return path.read_text()


def test_page_asks_nothing_of_the_network(page):
    assert not re.search(r'(src|href|action)\s*=\s*"?\s*(https?:)?//', page)
    assert not re.search(r'url\(|@import|<script|<link|<iframe', page)
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    sources = [attrs['src'] for tag, attrs in tags.seen if tag == 'img']
    assert sources
    assert all(source.startswith('data:image/') for source in sources)


def test_page_has_every_figure_of_every_method(page):
    for cities in METRICS.values():
        for figures in cities.values():
            for name in ('mAP', 'AMOTA', 'AMOTP'):
                if figures.get(name) is not None:
                    assert f'>{figures[name]:.3f}<' in page
    for text in ('Baseline', 'NexusFlow &lt;1&gt;', 'All labels', 'whole validation set'):
        assert text in page
    for text in ('2 min 05 s', '1 min 01 s', '3, 4, 5', 'torch 2.13.0', '2 cores', '1 &amp; 2'):
        assert text in page


def test_best_and_unlabelled_figures_are_marked(page):
    cells = re.findall(r'<td class="([^"]*)">([\d.]+)</td>', page)
    marks = {figure: kinds for kinds, figure in cells}
    assert (
        'best' in marks['0.292']
    )  # NexusFlow's mAP is above the baseline's, the bound is no rival
    assert 'best' in marks['1.200']  # for AMOTP less is better
    assert 'unseen' in marks['0.112']  # map in Singapore
    assert 'unseen' in marks['0.052']  # tracks in Boston
    assert 'unseen' not in marks.get('0.311', '')
    assert '0.493' not in marks or 'best' not in marks['0.493']


def test_page_has_the_curves(page):
    titles = re.findall(r'aria-label="([^"]*)"', page)
    expected = [
        'total loss',
        'loss of task map',
        'loss of task track',
        'align distance',
        'loss align',
    ]
    diagnostics = ['distance to the centre', 'MMD² of z', 'CKA of z']
    diagnostics += [
        f'{name} of {v}' for name in ('effective rank', 'standard deviation') for v in 'hz'
    ]
    assert titles == [*expected, 'learning rate', *diagnostics]  # one validation makes no curve


def test_page_has_readable_pictures(page):
    found = re.findall(r'alt="([^"]*)" src="data:image/\w+;base64,([^"]+)"', page)
    alts = [alt for alt, _ in found]
    assert sum('ground truth' in alt for alt in alts) == 2  # one sample of each city
    assert sum('Baseline' in alt for alt in alts) == 2
    for _, data in found:
        image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert min(image.shape[:2]) > 100
        assert image.std() > 5


def test_samples_come_from_every_city_and_different_scenes(drawn_data):
    gallery = Gallery(drawn_data.info_file, drawn_data.root, {})
    chosen = [gallery.samples[i] for i in pick_samples(gallery.samples, 2)]
    assert [s['scene_name'] for s in chosen] == [f'scene-{i}' for i in range(4)]
    assert all(s['frame_idx'] >= 2 for s in chosen)
    assert gallery.cities == {'boston-seaport': 'boston', 'singapore-onenorth': 'singapore'}


def test_report_without_pictures_and_logs(tmp_path):
    methods = {'only': {'metrics': {'all': {'mAP': float('nan'), 'AMOTA': 0.5}}}}
    page = write_report(tmp_path / 'r.html', {'methods': methods}).read_text()
    assert '>0.500<' in page
    assert 'No training was logged' in page
    with pytest.raises(ValueError, match='methods'):
        write_report(tmp_path / 'r.html', {'methods': {}})
