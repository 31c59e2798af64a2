# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The arithmetic of a comparison on results made by hand, and its tables."""

import csv
import io
import math

import pytest

from nexusflow.engine.comparison import csv_text, markdown, put_between_markers, summarise
from nexusflow.engine.comparison.summary import Spread, gap_share, spread, states_of_code

PARTIAL = {'map': ['boston'], 'track': ['singapore']}


def run(m_ap, ids=10.0, step_s=0.5, code='aaa', boston=None, **cost):
    metrics = {'map/mAP': m_ap, 'map/boston-seaport/mAP': boston, 'track/IDS': ids}
    cost = {'step_s': step_s, 'peak_mb': 900.0, 'parameters': 3_000_000} | cost
    cost = {'parameters_inference': 2_000_000} | cost
    seconds = {'train': 60.0, 'test': 6.0}
    made = {'code': [code], 'machine': ['one'], 'folders': ['x']}
    return {'metrics': metrics, 'cost': cost, 'seconds': seconds, **made}


def method(runs, seeds=(0, 1, 2), **given):
    """Runs by seed; seeds without a run are missing."""
    given = {'group': '', 'baseline': 'baseline', 'reference': 'full', 'labels': PARTIAL} | given
    missing = {str(s): 'not run' for s in seeds if str(s) not in runs}
    return {'label': 'a label', 'seeds': list(seeds), 'runs': runs, 'missing': missing} | given


def on(record, *machines):
    return {**record, 'machine': list(machines)}


def test_times_are_held_against_those_of_the_same_machine_only(results):
    methods = results['methods']
    base = {'0': on(run(0.1, step_s=0.5), 'fast'), '1': on(run(0.1, step_s=2.0), 'slow')}
    methods['baseline']['runs'] = base
    methods['ours']['runs'] = {
        '0': on(run(0.3, step_s=0.6), 'fast'),
        '1': on(run(0.3, step_s=0.7), 'fast'),
    }
    methods['once']['runs'] = {'1': on(run(0.9), 'fast', 'slow')}
    methods['never']['runs'] = {'1': on(run(0.9))}
    rows = {row.name: row for row in summarise(results)}
    assert rows['ours'].time_ratio == pytest.approx(1.2)
    assert rows['ours'].step_s == pytest.approx(0.65)
    assert rows['once'].time_ratio is None and rows['never'].time_ratio is None
    assert rows['baseline'].time_ratio == 1


@pytest.fixture
def results():
    metrics = [
        dict(key='map/mAP', label='mAP', more=True, digits=3, headline=True),
        dict(key='track/IDS', label='IDS', more=False, digits=0, headline=True),
    ]
    return {
        'name': 'made_up',
        'title': 'Made up',
        'delta': False,
        'metrics': metrics,
        'cities': {'boston': {'map': 'boston-seaport'}},
        'methods': {
            'full': method({'0': run(0.5, 4), '1': run(0.7, 8)}, labels={}, label='Full'),
            'baseline': method(
                {'0': run(0.1, 20, 0.4), '1': run(0.2, 30, 0.6), '2': run(0.3, None)}, label='Base'
            ),
            'ours': method(
                {
                    '0': run(0.3, 5, 0.6, boston=0.25, peak_mb=1000.0),
                    '1': run(0.5, 6, 0.65, boston=0.35, peak_mb=950.0),
                },
                label='Ours | new',
            ),
            'once': method({'1': run(0.9)}, seeds=(0, 1), label='Once', group='Variants'),
            'never': method({}, label='Never', group='Variants'),
        },
    }


def test_mean_spread_and_missing_seeds(results):
    rows = {row.name: row for row in summarise(results)}
    ours = rows['ours'].figures['map/mAP', 'all']
    # mean of 0.3 and 0.5; deviations of 0.1 each: sqrt(2 * 0.01 / 1)
    assert ours.mean == pytest.approx(0.4) and ours.std == pytest.approx(math.sqrt(0.02))
    assert (rows['ours'].done, rows['ours'].planned, ours.n) == (2, 3, 2)
    assert rows['ours'].missing == {'2': 'not run'}
    # the seed without that figure is left out, not counted as 0
    assert rows['baseline'].figures['track/IDS', 'all'] == Spread(25.0, pytest.approx(50**0.5), 2)
    assert rows['once'].figures['map/mAP', 'all'] == Spread(0.9, None, 1)
    assert rows['never'].figures == {}
    assert rows['ours'].figures['map/mAP', 'boston'].mean == pytest.approx(0.3)
    assert ('map/mAP', 'boston') not in rows['full'].figures


def test_share_of_the_gap(results):
    rows = {row.name: row for row in summarise(results)}
    # over its own seeds, 0 and 1: (0.4 - 0.15) / (0.6 - 0.15), and of each seed over the same gap
    share = rows['ours'].shares['map/mAP', 'all']
    assert share.value == pytest.approx(0.25 / 0.45)
    assert share.per_seed == pytest.approx((0.15 / 0.45, 0.35 / 0.45))
    # seed 1 alone: (0.9 - 0.2) / (0.7 - 0.2)
    assert rows['once'].shares['map/mAP', 'all'].value == pytest.approx(1.4)
    # fewer identity switches are better: (5.5 - 25) / (6 - 25)
    assert rows['ours'].shares['track/IDS', 'all'].value == pytest.approx(19.5 / 19)
    assert rows['baseline'].shares == {} and rows['full'].shares == {}
    assert rows['never'].shares['map/mAP', 'all'].value is None


@pytest.mark.parametrize(
    ('reference', 'more'), [(0.2, True), (0.1, True), (0.2, False), (0.3, False)]
)
def test_gap_that_is_none_or_has_the_wrong_sign_is_undefined(reference, more):
    share = gap_share([0.25], spread([0.2]), spread([reference]), more)
    assert share.value is None and 'not better' in share.reason


def test_a_baseline_of_other_seeds_tells_nothing(results):
    results['methods']['once'] = method({'7': run(0.4)}, seeds=(7,), label='Once')
    share = {row.name: row for row in summarise(results)}['once'].shares['map/mAP', 'all']
    assert share.value is None
    assert f'Gap of mAP undefined: {share.reason}.' in markdown(results)


def test_costs(results):
    rows = {row.name: row for row in summarise(results)}
    assert rows['ours'].time_ratio == pytest.approx(0.625 / 0.5)
    assert rows['ours'].peak_mb == 1000.0
    assert (rows['ours'].parameters, rows['ours'].parameters_inference) == (3_000_000, 2_000_000)
    assert rows['never'].time_ratio is None


def cells(line):
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_markdown(results):
    text = markdown(results, 'python tools/compare.py x.py')
    lines = text.splitlines()
    assert cells(lines[0])[:5] == ['method', 'seeds', 'mAP ↑', 'gap closed', 'IDS ↓']
    table = {cells(line)[0]: cells(line) for line in lines[2:8] if line.startswith('|')}
    assert table['Ours / new'][1:6] == ['2 of 3', '0.400 ± 0.141', '56 %', '6 ± 1', '103 %']
    assert table['Ours / new'][6:] == ['1.25x', '1000 MiB', '3.00 M (2.00 M)']
    assert table['Once'][1:4] == ['1 of 2', '0.900 (n=1)', '140 %']
    assert table['Full'][3] == '' and 'Never' not in table
    assert '*Variants*' in table
    by_city = [cells(line) for line in lines if line.startswith('| Ours')][1]
    assert by_city == ['Ours / new', '0.300 ± 0.071']
    assert 'Never seed 0, 1, 2 (not run)' in text and 'Ours | new seed 2 (not run)' in text
    assert 'different states' not in text
    assert text.endswith('Made by `python tools/compare.py x.py`.\n')


def test_figures_without_labels_from_the_city_are_marked(results):
    results['methods']['ours']['labels'] = {'map': ['singapore']}
    for name, figure in (('full', 0.6), ('baseline', 0.2)):
        for seed in '01':
            record = results['methods'][name]['runs'][seed]
            record['metrics']['map/boston-seaport/mAP'] = figure
    assert '| 0.300 ± 0.071†, 25 % |' in markdown(results)


def test_a_gap_within_the_spread_is_remarked(results):
    assert 'not larger than the spread' not in markdown(results)
    results['methods']['full']['runs'] = {'0': run(0.2), '1': run(0.4)}
    # 0.3 against 0.2, spreads 0.141 and 0.1
    assert 'The gap of mAP (+0.100) is not larger than the spread' in markdown(results)


def test_undefined_gap_and_other_code_are_remarked(results):
    results['methods']['full']['runs'] = {'0': run(0.1, 4, code='bbb')}
    text = markdown(results)
    assert '| undefined |' in text
    assert 'Gap of mAP undefined: the reference is not better than the baseline.' in text
    assert 'different states of the code: aaa (6 runs), bbb (1 runs)' in text
    assert states_of_code(results)['bbb'] == ['full 0']


def test_mean_relative_gain_over_the_baseline(results):
    results['delta'] = True
    results['metrics'] = [
        dict(key='segmentation/mIoU', label='mIoU', more=True, digits=3, headline=True),
        dict(key='depth/abs_err', label='error', more=False, digits=3, headline=True),
    ]
    for name, (iou, error) in {'baseline': (0.2, 0.5), 'ours': (0.3, 0.6)}.items():
        run = results['methods'][name]['runs']['0']
        run['metrics'] = {'segmentation/mIoU': iou, 'depth/abs_err': error}
    # +50 % and -20 %
    assert {row.name: row.delta for row in summarise(results)}['ours'] == pytest.approx(15.0)
    assert '| +15.0 % |' in markdown(results) and 'mean of the relative gains' in markdown(results)


def test_csv_has_unrounded_figures_and_empty_cells(results):
    lines = {line['method']: line for line in csv.DictReader(io.StringIO(csv_text(results)))}
    assert float(lines['ours']['map/mAP all std']) == pytest.approx(math.sqrt(0.02), abs=1e-12)
    assert float(lines['ours']['map/mAP all gap_closed']) == pytest.approx(0.25 / 0.45)
    assert lines['ours']['seeds'] == '2' and lines['ours']['planned_seeds'] == '3'
    assert lines['once']['map/mAP all std'] == ''
    assert lines['never']['map/mAP all mean'] == '' and lines['never']['map/mAP all n'] == '0'
    assert 'track/IDS boston mean' not in lines['ours']


def test_readme_table_is_replaced_between_its_markers(tmp_path):
    readme = tmp_path / 'README.md'
    first, last = '<!-- compare:made_up -->', '<!-- /compare:made_up -->'
    readme.write_text(f'before\n{first}\nold \\1 text\n{last}\nafter <!-- compare:other -->\n')
    put_between_markers(readme, 'made_up', 'new \\1\n')
    assert readme.read_text() == (
        f'before\n{first}\nnew \\1\n{last}\nafter <!-- compare:other -->\n'
    )
    put_between_markers(readme, 'made_up', 'newer')
    assert 'newer' in readme.read_text() and 'new \\1' not in readme.read_text()
    for name in ('other', 'third'):
        with pytest.raises(ValueError, match=f'README.md: needs one line .*compare:{name}'):
            put_between_markers(readme, name, 'x')


def test_shares_are_over_the_seeds_that_all_three_have(results):
    methods = results['methods']
    methods['full']['runs'] = {'0': run(0.6), '1': run(1.0)}
    methods['baseline']['runs'] = {'0': run(0.4)}
    methods['ours']['runs'] = {'0': run(0.5), '1': run(0.9)}
    methods['once']['runs'] = {'1': run(0.9)}
    results['delta'] = True
    rows = {row.name: row for row in summarise(results)}
    share = rows['ours'].shares['map/mAP', 'all']
    assert share.value == pytest.approx(0.5) and len(share.per_seed) == 1
    assert rows['ours'].figures['map/mAP', 'all'].mean == pytest.approx(0.7)
    assert rows['ours'].delta == pytest.approx(12.5)
    share = rows['once'].shares['map/mAP', 'all']
    assert share.value is None and 'no seed in common' in share.reason
    assert rows['once'].delta is None
