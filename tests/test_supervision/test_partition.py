# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import json

import pytest

from nexusflow.supervision import ByLocation, Full, Random, SampleKey, Swapped, build_rule

SAMPLES = [
    SampleKey(f'{city}-{scene}-{frame}', f'{city}-{scene}', location)
    for city, location in (('b', 'boston-seaport'), ('s', 'singapore-onenorth'))
    for scene in range(20)
    for frame in range(3)
]
CITY = dict(type='ByLocation', map=['boston-*'], track=['singapore-*'])


def by_location(labels):
    return {
        location: {
            names
            for names, sample in zip(labels, SAMPLES, strict=True)
            if sample.location == location
        }
        for location in ('boston-seaport', 'singapore-onenorth')
    }


def test_by_location():
    labels = build_rule(CITY).assign(SAMPLES)
    assert by_location(labels) == {
        'boston-seaport': {('map',)},
        'singapore-onenorth': {('track',)},
    }


def test_by_location_may_overlap_and_leave_samples_unlabelled():
    both = ByLocation(track=['*'], map='boston-seaport').assign(SAMPLES)
    assert by_location(both)['boston-seaport'] == {('map', 'track')}
    none = ByLocation(track=['boston-*'], map=['boston-*']).assign(SAMPLES)
    assert by_location(none)['singapore-onenorth'] == {()}


def test_swapped_exchanges_the_cities():
    labels = build_rule(dict(type='Swapped', of=CITY)).assign(SAMPLES)
    assert by_location(labels) == {
        'boston-seaport': {('track',)},
        'singapore-onenorth': {('map',)},
    }


def test_swapped_rotates_three_tasks():
    rule = ByLocation(('a', 'b', 'c'), a=['boston-*'], b=['singapore-*'], c=['singapore-*'])
    labels = Swapped(rule, ('a', 'b', 'c')).assign(SAMPLES)
    assert by_location(labels) == {
        'boston-seaport': {('b',)},
        'singapore-onenorth': {('a', 'c')},
    }


def test_full_is_the_default():
    assert isinstance(build_rule(None), Full)
    assert set(build_rule(None).assign(SAMPLES)) == {('map', 'track')}
    assert set(build_rule(None, ('depth',)).assign(SAMPLES)) == {('depth',)}


def test_random_labels_each_scene_for_one_task():
    labels = Random(seed=3).assign(SAMPLES)
    assert set(labels) == {('map',), ('track',)}
    assert all(len(set(labels[i : i + 3])) == 1 for i in range(0, len(labels), 3))
    assert labels == Random(seed=3).assign(SAMPLES) != Random(seed=4).assign(SAMPLES)
    assert Random(seed=3).assign(SAMPLES[60:]) == labels[60:]


def test_random_per_sample_with_probabilities():
    rule = Random(per='sample', probs=dict(map=0.75, track=0.25))
    samples = [SampleKey(str(i), 'scene', 'x') for i in range(4000)]
    labels = rule.assign(samples)
    both = sum(len(names) == 2 for names in labels) / 4000
    assert abs(sum('map' in names for names in labels) / 4000 - 0.75) < 0.03
    assert abs(sum('track' in names for names in labels) / 4000 - 0.25) < 0.03
    assert abs(both - 0.75 * 0.25) < 0.03


def test_from_file_by_token_and_by_scene(tmp_path):
    table = {sample.scene_name: ['map'] for sample in SAMPLES}
    table[SAMPLES[0].token] = ['track', 'map']
    table[SAMPLES[1].token] = []
    path = tmp_path / 'labels.json'
    path.write_text(json.dumps(table))
    labels = build_rule(dict(type='FromFile', path=path)).assign(SAMPLES)
    assert labels[:3] == [('map', 'track'), (), ('map',)]


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (
            {**CITY, 'map': ['bostn-*']},
            r"task 'map': 'bostn-\*' fits no location .*'boston-seaport'",
        ),
        (dict(type='ByLocation', map=['*']), "none of the 120 samples for task 'track'; change"),
        ({**CITY, 'lane': ['*']}, r"unknown task 'lane' .* the tasks are \['map', 'track'\]"),
        (dict(type='Swapped', of={**CITY, 'map': ['x']}), "'x' fits no location"),
        (dict(type='Random', per='city'), "'per' must be 'scene' or 'sample', got 'city'"),
        (dict(type='Random', probs=dict(map=1.5)), r"task 'map' must be in \[0, 1\], got 1.5"),
        (dict(type='Random', probs=dict(lane=0.5)), "unknown task 'lane' in 'probs'"),
        (dict(type='Random', probs=dict(map=1.0)), "none of the 120 samples for task 'track'"),
        (dict(type='ByCity'), r"unknown rule type 'ByCity'; choose from \['ByLocation'"),
        (dict(map=['*']), 'unknown rule type None'),
        (dict(type='Random', sead=1), r"Random: wrong arguments \{'sead': 1\}"),
    ],
)
def test_errors_name_the_fault(cfg, message):
    with pytest.raises(ValueError, match=message):
        build_rule(cfg).assign(SAMPLES)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{', 'is not JSON'),
        ('[1]', 'must hold an object of lists'),
        ('{"b-0": "map"}', 'must hold an object of lists'),
        ('{"b-0": ["lane"]}', "unknown task 'lane' in 'b-0' of file"),
        ('{"b-1": ["map"]}', "says nothing of sample 'b-0-0' nor of its scene 'b-0'; add"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    path = tmp_path / 'labels.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        build_rule(dict(type='FromFile', path=path)).assign(SAMPLES)


def test_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match="'nowhere.json' does not exist; correct 'path'"):
        build_rule(dict(type='FromFile', path='nowhere.json'))
