# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Partitions of single images: the published tables, the generators' marginals, and what is refused."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from nexusflow.supervision import SampleKey, build_rule
from nexusflow.supervision.tables import read_table

TASKS = ('segmentation', 'depth', 'normal')
IMAGES = [SampleKey(str(i), str(i), 'train') for i in range(795)]
PUBLISHED = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'nyuv2'
#: How often each pattern occurs in the published partitions, and their first rows.
PATTERNS = {
    'onelabel': {'S': 265, 'D': 265, 'N': 265},
    'randomlabels': {'S': 129, 'D': 133, 'N': 143, 'SD': 148, 'SN': 115, 'DN': 127},
}
FIRST = {
    'onelabel': ['S', 'N', 'N', 'N', 'N', 'D', 'N', 'D'],
    'randomlabels': ['DN', 'SD', 'D', 'D', 'SD', 'S', 'N', 'SN'],
}
COUNTS = {'onelabel': (265, 265, 265), 'randomlabels': (392, 408, 385)}


def rows_of(patterns):
    return [[int(letter in pattern) for letter in 'SDN'] for pattern in patterns]


def own_rows(name):
    """Rows with the published counts, in another order than the published ones."""
    left = Counter(PATTERNS[name])
    left.subtract(FIRST[name])
    return rows_of(FIRST[name] + sorted(left.elements()))


def write(path, rows, columns=('semantic', 'depth', 'normal')):
    if path.suffix == '.pth':
        table = {'labels_weights': torch.tensor(rows, dtype=torch.float32)}
        torch.save(table, path, _use_new_zipfile_serialization=False)  # as in the published files
    elif path.suffix == '.json':
        table = [dict(zip(('index', *columns), (i, *r), strict=True)) for i, r in enumerate(rows)]
        path.write_text(json.dumps(table))
    else:
        with path.open('w', newline='') as stream:
            writer = csv.writer(stream)
            writer.writerow(('index', *columns))
            writer.writerows((i, *row) for i, row in enumerate(rows))
    return path


def labels(rule, samples=IMAGES, tasks=TASKS):
    return build_rule(rule, tasks).assign(samples)


def counts(assigned, tasks=TASKS):
    return tuple(sum(task in of_sample for of_sample in assigned) for task in tasks)


def letters(assigned):
    return [''.join(task[0].upper() for task in of_sample) for of_sample in assigned]


@pytest.mark.parametrize('name', sorted(PATTERNS))
@pytest.mark.parametrize('ending', ['.csv', '.json', '.pth'])
def test_tables_give_the_published_counts(name, ending, tmp_path):
    paths = [write(tmp_path / f'{name}{ending}', own_rows(name))]
    if ending == '.csv' and (published := PUBLISHED / f'{name}.csv').is_file():
        paths.append(published)
    for path in paths:
        assigned = labels(dict(type='FromTable', path=str(path)))
        assert counts(assigned) == COUNTS[name]
        assert Counter(letters(assigned)) == PATTERNS[name]
        assert letters(assigned)[:8] == FIRST[name]


def test_a_column_may_have_the_name_of_its_task(tmp_path):
    path = write(tmp_path / 't.csv', [(1, 0), (0, 1)], ('edge', 'segmentation'))
    tasks = ('segmentation', 'edge')
    assert labels(dict(type='FromTable', path=path), IMAGES[:2], tasks) == [
        ('edge',),
        ('segmentation',),
    ]
    tensor = write(tmp_path / 't.pth', [(1, 0), (0, 1)])
    rule = dict(type='FromTable', path=tensor, columns=('semantic', 'depth'))
    assert labels(rule, IMAGES[:2], TASKS[:2]) == [('segmentation',), ('depth',)]


def test_wrong_tables_are_refused(tmp_path):
    good = own_rows('onelabel')

    def refused(path, message, tasks=TASKS, samples=IMAGES):
        with pytest.raises(ValueError, match=message):
            labels(dict(type='FromTable', path=path), samples, tasks)

    refused(write(tmp_path / 'short.csv', good[:-1]), r'short.csv.* 794 rows.* 795 images')
    bad = [list(row) for row in good]
    bad[7][1] = 2
    refused(write(tmp_path / 'a.csv', bad), r"a.csv', row 7, column 'depth': 2 is neither 0 nor 1")
    refused(write(tmp_path / 'a.json', bad), r"a.json', row 7, column 'depth': 2 is neither")
    refused(write(tmp_path / 'a.pth', bad), r"a.pth', row 7: \[0.0, 2.0, 0.0\] has values besides")
    bad[7][1] = 0.5
    refused(write(tmp_path / 'b.csv', bad), r"row 7, column 'depth': '0.5' is neither")
    unknown = write(tmp_path / 'c.csv', good, ('semantic', 'depth', 'edges'))
    refused(unknown, r"c.csv', row 0: column 'edges' is no task; the tasks are")
    refused(write(tmp_path / 'd.csv', good), r"no column 'edge' for task 'edge'", (*TASKS, 'edge'))
    none = write(tmp_path / 'e.csv', [(1, 1, 0)] * 795)
    refused(none, r"labels none of the 795 samples for task 'normal'")
    named = [SampleKey('token', 'scene', 'x')]
    refused(write(tmp_path / 'f.csv', [(1, 1, 1)]), "no row for sample 'token'", samples=named)


def test_broken_files_are_refused(tmp_path):
    def refused(name, content, message):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(ValueError, match=message):
            read_table(path)

    with pytest.raises(FileNotFoundError, match=r"no.csv' does not exist"):
        read_table(tmp_path / 'no.csv')
    refused('a.txt', '', 'must end in .csv, .json or .pth')
    refused('a.csv', 'semantic,depth\n1,0\n', "no column 'index' in its first line")
    refused('b.csv', 'index,semantic\n0,1\n2,1\n', "row 1: 'index' is 2, it must be 1")
    refused('c.csv', 'index,semantic\n0\n', "row 0, column 'semantic': None is neither")
    refused('a.json', '{', 'is not JSON')
    refused('b.json', '{"0": 1}', 'must hold a list of objects')
    refused('c.json', '[{"index": 0, "depth": true}]', 'True is neither 0 nor 1')
    refused('a.pth', b'nothing', 'is not a file of tensors')
    torch.save(torch.ones(3, 3), tmp_path / 'b.pth')
    with pytest.raises(ValueError, match=r"'labels_weights' must be a tensor \[images, 3\]"):
        read_table(tmp_path / 'b.pth')
    torch.save({'labels_weights': torch.ones(3, 2)}, tmp_path / 'c.pth')
    with pytest.raises(ValueError, match=r'but it is \(3, 2\); name its columns'):
        read_table(tmp_path / 'c.pth')


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / 'sprung',)

    torch.save({'labels_weights': Trap()}, tmp_path / 'trap.pth')
    with pytest.raises(ValueError, match='is not a file of tensors'):
        read_table(tmp_path / 'trap.pth')
    assert not (tmp_path / 'sprung').exists()


def test_one_label_deals_equal_parts():
    for seed in range(5):
        assigned = labels(dict(type='OneLabel', seed=seed))
        assert counts(assigned) == (265, 265, 265)
        assert {len(of_sample) for of_sample in assigned} == {1}
    assert counts(labels(dict(type='OneLabel'), IMAGES[:8])) == (3, 3, 2)
    assert labels(dict(type='OneLabel', seed=1)) == labels(dict(type='OneLabel', seed=1))
    assert labels(dict(type='OneLabel', seed=1)) != labels(dict(type='OneLabel', seed=2))


def test_one_label_is_random():
    """A task's images are spread: of the first half of the images it has a half (4 sigma: 29)."""
    for seed in range(5):
        first = counts(labels(dict(type='OneLabel', seed=seed))[:398])
        assert all(abs(count - 398 / 3) < 29 for count in first)


def test_random_labels_have_the_published_marginals():
    """Each of the 6 patterns has 1/6 of the images, each task a half, within the binomial spread.

    The published table itself passes the same test: its largest deviation is 1.7 sigma.
    """
    sigma_pattern, sigma_task = (795 * 1 / 6 * 5 / 6) ** 0.5, (795 / 4) ** 0.5
    tables = [labels(dict(type='RandomLabels', seed=seed)) for seed in range(8)]
    published = [Counter(PATTERNS['randomlabels']), COUNTS['randomlabels']]
    for pattern, task in [published, *((Counter(letters(t)), counts(t)) for t in tables)]:
        assert set(pattern) == set(PATTERNS['randomlabels'])
        assert all(abs(n - 795 / 6) < 4 * sigma_pattern for n in pattern.values())
        assert all(abs(n - 795 / 2) < 4 * sigma_task for n in task)
    chi_squared = [
        sum((n - 795 / 6) ** 2 / (795 / 6) for n in Counter(letters(t)).values()) for t in tables
    ]
    assert 1 < sum(chi_squared) / 8 < 10  # 5 degrees of freedom: mean 5, standard error 1.1
    assert tables[0] != tables[1]
    assert tables[0] == labels(dict(type='RandomLabels', seed=0))
    assert tables[0][100:200] == labels(dict(type='RandomLabels', seed=0), IMAGES[100:200])


def test_random_labels_of_two_and_four_tasks():
    two = labels(dict(type='RandomLabels'), tasks=('a', 'b'))
    assert {len(of_sample) for of_sample in two} == {1}
    four = labels(dict(type='RandomLabels'), tasks=('a', 'b', 'c', 'd'))
    assert len(set(four)) == 14 and {len(of_sample) for of_sample in four} == {1, 2, 3}
    with pytest.raises(ValueError, match='needs two tasks at least'):
        build_rule(dict(type='RandomLabels'), ('a',))


def test_single_task_keeps_what_the_partition_gives_it():
    partition = dict(type='OneLabel', seed=4)
    whole = labels(partition)
    for task in TASKS:
        alone = labels(dict(type='SingleTask', task=task, of=partition))
        assert [task in of_sample for of_sample in whole] == [bool(names) for names in alone]
        assert set(alone) == {(), (task,)}
    assert set(labels(dict(type='SingleTask', task='depth'))) == {('depth',)}
    with pytest.raises(ValueError, match="unknown task 'edge' in 'task'"):
        build_rule(dict(type='SingleTask', task='edge'), TASKS)


def test_swapped_one_label_rotates_the_tasks():
    partition = dict(type='OneLabel', seed=4)
    successor = dict(zip(TASKS, TASKS[1:] + TASKS[:1], strict=True))
    swapped = labels(dict(type='Swapped', of=partition))
    assert swapped == [(successor[names[0]],) for names in labels(partition)]


def test_one_label_wants_all_samples_first():
    rule = build_rule(dict(type='OneLabel'), TASKS)
    with pytest.raises(ValueError, match=r'call assign\(\) with all samples'):
        rule.labels_of(IMAGES[0])
