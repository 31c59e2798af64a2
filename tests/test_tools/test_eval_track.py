# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The tool that scores tracking submissions."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from nexusflow.evaluation.functional.files import write_json
from nexusflow.evaluation.made_up_submission import make_submission
from nexusflow.evaluation.made_up_tables import EVAL_SET, VERSION, MadeUpSpec, make_tables

TOOLS = Path(__file__).parents[2] / 'tools'


@pytest.fixture
def tool(monkeypatch, tmp_path):
    """Runs the tool on a submission; gives what it wrote."""
    monkeypatch.syspath_prepend(str(TOOLS))
    module = importlib.import_module('eval_track')
    make_tables(tmp_path, MadeUpSpec(scenes=2, frames=4, objects=6), seed=0)

    def run(submission, *flags, eval_set=EVAL_SET):
        write_json(tmp_path / 'submission.json', submission)
        out = tmp_path / 'scores.json'
        arguments = ['eval_track', str(tmp_path / 'submission.json'), '--json', str(out)]
        arguments += ['--dataroot', str(tmp_path), '--version', VERSION, '--eval-set', eval_set]
        monkeypatch.setattr(sys, 'argv', [*arguments, *flags])
        module.main()
        return json.loads(out.read_text())

    run.root = tmp_path
    return run


def test_whole_and_cities_are_printed_and_written(tool, capsys):
    submission = make_submission(tool.root, 1)
    fast = tool(submission, eval_set='made_up_boston')
    assert fast['judge'] == 'fast'
    printed = capsys.readouterr().out
    assert 'AMOTA' in printed and 'pedestrian' in printed and 'fast evaluation' in printed
    official = tool(submission, '--official', eval_set='made_up_boston')
    assert official['judge'] == 'official'
    scores, expected = (r['eval_sets']['made_up_boston'] for r in (fast, official))
    assert scores['metrics'] == pytest.approx(expected['metrics'], abs=1e-6)
    assert set(scores['classes']['ids']) == set(expected['classes']['ids'])
    assert scores['metrics']['AMOTA_trailer'] is None


def test_cities_of_the_eval_set_and_reasons(tool, capsys):
    nothing = {'meta': {}, 'results': {t: [] for t in make_submission(tool.root, 0)['results']}}
    splits = json.loads((tool.root / VERSION / 'splits.json').read_text())
    splits['made_up_singapore'] = splits.pop('made_up_boston')  # the other scene is empty
    write_json(tool.root / VERSION / 'splits.json', splits)
    scores = tool(nothing)['eval_sets']
    assert list(scores) == ['made_up', 'made_up_singapore']
    assert scores['made_up']['metrics']['AMOTA'] == 0
    assert 'no boxes were submitted' in scores['made_up']['reason']
    assert 'AMOTA is 0. made_up_singapore: no boxes were submitted' in capsys.readouterr().out


def test_errors_end_the_tool_with_a_line(tool, monkeypatch):
    with pytest.raises(SystemExit, match=r"error: .*splits\.json: no eval set 'typo'"):
        tool(make_submission(tool.root, 0), eval_set='typo')
    with pytest.raises(SystemExit, match=r'error: .*no field'):
        tool({'results': {}})
    monkeypatch.setitem(sys.modules, 'motmetrics', None)
    with pytest.raises(SystemExit, match=r"needs motmetrics: pip install 'motmetrics==1\.4\.0'"):
        tool(make_submission(tool.root, 0), '--official', eval_set='made_up_boston')
