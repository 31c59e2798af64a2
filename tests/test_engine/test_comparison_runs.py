# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Comparisons of commands that do nothing but write files: order, identity, resuming, failing."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import nexusflow
from nexusflow.engine.comparison import Plan, collect, load_experiment, markdown
from nexusflow.engine.comparison.summary import summarise
from nexusflow.engine.stages import StageRunner
from nexusflow.evaluation.functional.files import write_json

TOOLS = Path(__file__).parents[2] / 'tools'
CONFIGS = TOOLS.parent / 'configs'
TOOL = """
import json, os, pathlib, sys, time
args, cfg = sys.argv[1:], {}
exec(open(args[0]).read(), cfg)
model, seed = cfg['model'], cfg['randomness']['seed']
folder = pathlib.Path(args[args.index('--work-dir') + 1])
folder.mkdir(parents=True, exist_ok=True)
with open(pathlib.Path(os.environ['TOY_LOG']), 'a') as log:
    log.write(f"{os.path.basename(sys.argv[0])} {model['kind']} {seed}\\n")
"""
TRAIN = """
if model['kind'] == 'bad':
    sys.exit('out of luck')
if model['slow'] and not (folder / 'begun').exists():
    (folder / 'begun').touch()
    time.sleep(60)
cost = dict(step_s=0.1, peak_mb=1.0, parameters=2, parameters_inference=1)
(folder / 'run_record.json').write_text(json.dumps(cost))
(folder / 'last_checkpoint').touch()
"""
TEST = """
value = model['value'] + seed
out = pathlib.Path(args[args.index('--metrics-out') + 1])
out.write_text(json.dumps({'map/mAP': value, 'track/x': value}))
"""
MAKE = """
import pathlib, sys
root = pathlib.Path(sys.argv[1])
root.mkdir(exist_ok=True)
(root / 'made').write_text((root / 'made').read_text() + 'x' if (root / 'made').exists() else 'x')
"""
ANALYZE = """
import json, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])
out.mkdir(parents=True)
space = dict(mmd2={'a-b': 0.5}, cka={'a-b': 0.25}, effective_rank={'a': 2.0})
space['spectrum'] = {'a': [0.5, 0.5], 'b': [0.9, 0.1]}
points = dict(pooled={t: [[0, 1], [2, 3]] for t in 'ab'})
spaces = dict(pooled=space, z=dict(space, relative={'a-b': 0.125}))
content = dict(spaces=spaces, places=['x', 'y'], tsne=points)
(out / 'analysis.json').write_text(json.dumps(content))
"""
EXPERIMENT = """
name, title, data_variable = 'toy', 'Toy', 'TOY_ROOT'
data = [dict(name='made', command='make.py {data_root}', outputs=['made'])]
metrics = [dict(key='map/mAP', label='mAP', headline=True)]
methods = dict(
    full=dict(label='Full', config='full.py', seeds=(0, 1)),
    baseline=dict(label='Base', config='base.py', seeds=(0, 1)),
    bad=dict(label='Bad', config='bad.py', seeds=(0,)),
    parts=dict(label='Parts', configs=dict(map='base.py', track='full.py'), seeds=(5,)),
)
rules = dict(
    other=dict(methods=['baseline'], supervision=dict(type='Full'), seeds=(0,), label='other rule')
)
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """An experiment on commands that append to a log."""
    tools, configs = tmp_path / 'tools', tmp_path / 'configs'
    tools.mkdir()
    configs.mkdir()
    files = {'train': TOOL + TRAIN, 'test': TOOL + TEST, 'analyze': ANALYZE, 'make': MAKE}
    for name, text in files.items():
        (tools / f'{name}.py').write_text(text)
    for name, value in (('full', 4.0), ('base', 2.0), ('bad', 0.0)):
        write_config(configs, name, value)
    (configs / 'toy.py').write_text(EXPERIMENT)
    monkeypatch.setenv('TOY_LOG', str(tmp_path / 'log'))
    return tmp_path


def write_config(folder, name, value, slow=False):
    (folder / f'{name}.py').write_text(
        f"model = dict(kind='{name}', value={value}, slow={slow})\n"
        "train_dataloader = dict(dataset=dict(root='{{$TOY_ROOT:nowhere}}'))\n"
    )


def plan_of(toy, work_dir='work', data='data'):
    experiment = load_experiment(toy / 'configs' / 'toy.py')
    return Plan(experiment, toy / work_dir, toy / data, toy / 'tools')


def run(plan, methods=('full', 'baseline'), **kwargs):
    """Results of a call; its runner."""
    known = StageRunner(plan.stages(plan.runs()), plan.work_dir / 'stages')
    kwargs = {
        'keep_going': True,
        'interval': 0.1,
        'note': lambda: {'code': 'one', 'machine': 'mine'},
    } | kwargs
    runner = StageRunner(plan.stages(plan.runs(methods)), plan.work_dir / 'stages', **kwargs)
    runner.run()
    return collect(plan, known, runner.failures), runner


def log(toy):
    return (toy / 'log').read_text().splitlines() if (toy / 'log').exists() else []


def test_first_seeds_of_all_methods_come_first(toy):
    names = [run.name for run in plan_of(toy).runs()]
    assert names == [
        'full-seed0', 'baseline-seed0', 'bad-seed0', 'parts-map-seed5', 'parts-track-seed5',
        'other_baseline-seed0', 'full-seed1', 'baseline-seed1',
    ]  # fmt: skip
    assert [run.name for run in plan_of(toy).runs(['full'], [1])] == ['full-seed1']


def test_every_run_is_there_once_and_is_not_repeated(toy):
    results, _ = run(plan_of(toy))
    runs = {n: m['runs'] for n, m in results['methods'].items()}
    assert {s: r['metrics']['map/mAP'] for s, r in runs['full'].items()} == {'0': 4.0, '1': 5.0}
    assert runs['full']['0']['analysis']['pooled']['mmd2'] == 0.5
    assert [row.relative for row in summarise(results)][:2] == [0.125, 0.125]
    assert '| MMD² ↓ | z apart ↓ |' in markdown(results) and '| 0.500 | 0.125 |' in markdown(
        results
    )
    assert 'analysis' not in runs['full']['1']
    assert runs['baseline']['0']['cost']['parameters_inference'] == 1
    assert results['methods']['bad']['missing'] == {'0': 'not run'}
    before = log(toy)
    assert len(before) == 8 and before[0] == 'train.py full 0'
    again, _ = run(plan_of(toy))
    assert log(toy) == before and again == results
    assert (toy / 'data' / 'made').read_text() == 'x'


def test_a_changed_configuration_is_run_again_and_it_alone(toy):
    run(plan_of(toy))
    write_config(toy / 'configs', 'base', 3.0)
    plan = plan_of(toy)
    known = StageRunner(plan.stages(plan.runs()), plan.work_dir / 'stages')
    missing = collect(plan, known)['methods']['baseline']['missing']
    assert missing == dict.fromkeys('01', 'its configuration or data changed since it ran')
    results, _ = run(plan)
    assert results['methods']['baseline']['runs']['0']['metrics']['map/mAP'] == 3.0
    assert log(toy)[8:] == [f'{tool}.py base {s}' for s in (0, 1) for tool in ('train', 'test')]


def test_a_helper_variable_or_another_place_is_no_other_run(toy):
    run(plan_of(toy))
    path = toy / 'configs' / 'base.py'
    path.write_text(f'helper = 3  # a comment\n{path.read_text()}')
    (toy / 'work').rename(toy / 'moved')
    (toy / 'data').rename(toy / 'far')
    results, _ = run(plan_of(toy, 'moved', 'far'))
    assert len(log(toy)) == 8 and len(results['methods']['baseline']['runs']) == 2
    frozen = next((toy / 'moved' / 'configs').glob('baseline-seed0-*'))
    assert f"'root': '{toy}/far'" in frozen.read_text()


def test_another_recipe_of_the_data_is_another_run(toy):
    run(plan_of(toy), ['full'])
    path = toy / 'configs' / 'toy.py'
    path.write_text(path.read_text().replace('make.py {data_root}', 'make.py {data_root} --more'))
    run(plan_of(toy), ['full'])
    assert len(log(toy)) == 8 and (toy / 'data' / 'made').read_text() == 'xx'


def test_other_code_keeps_the_runs_and_is_told(toy):
    run(plan_of(toy), ['full'])
    results, _ = run(plan_of(toy), note=lambda: {'code': 'two'})
    assert len(log(toy)) == 8
    assert results['methods']['full']['runs']['0']['code'] == ['one']
    text = markdown(results)
    assert 'different states of the code: one (2 runs), two (2 runs)' in text


def test_a_failed_run_does_not_stop_the_others(toy):
    results, runner = run(plan_of(toy), ['bad', 'baseline'])
    assert len(results['methods']['baseline']['runs']) == 2
    assert list(runner.failures) == ['train_bad-seed0']
    assert 'out of luck' in runner.failures['train_bad-seed0']
    assert results['methods']['bad']['missing'] == {'0': 'train_bad-seed0 failed'}
    assert 'test.py bad 0' not in log(toy)


def test_a_method_of_several_models_is_one_row(toy):
    results, _ = run(plan_of(toy), ['parts', 'other_baseline'])
    found = results['methods']['parts']['runs']['5']
    assert found['metrics'] == {'map/mAP': 7.0, 'track/x': 9.0}
    assert found['cost']['parameters'] == 4 and found['cost']['step_s'] == pytest.approx(0.2)
    assert found['cost']['models'] == 2
    swapped = results['methods']['other_baseline']
    assert swapped['label'] == 'Base (other rule)' and swapped['baseline'] == 'other_baseline'
    frozen = next((toy / 'work' / 'configs').glob('other_baseline-*')).read_text()
    assert "'supervision': {'type': 'Full'}" in frozen


def test_after_the_time_nothing_is_started(toy):
    results, runner = run(plan_of(toy), max_seconds=0.0)
    assert log(toy) == [] and runner.failures == {}
    assert results['methods']['full']['missing'] == {'0': 'not run', '1': 'not run'}


def test_jobs_get_the_devices_in_turn(toy):
    (toy / 'tools' / 'make.py').write_text(
        MAKE + "import os; (root / 'device').write_text(os.environ['CUDA_VISIBLE_DEVICES'])"
    )
    run(plan_of(toy), ['full'], slots=[{'CUDA_VISIBLE_DEVICES': '7'}])
    assert (toy / 'data' / 'device').read_text() == '7'


def test_declarations_that_do_not_fit_are_refused(toy):
    path = toy / 'configs' / 'toy.py'
    for before, after, message in (
        ("config='bad.py'", "config='none.py'", "'bad': config '.*none.py' does not exist"),
        ("label='Bad'", "label='Bad', colour=3", 'colour'),
        ("label='Bad'", "label='Bad', baseline='x'", "'bad': .* 'x' is not a method"),
        ('headline=True', 'headline=False', 'headline'),
    ):
        path.write_text(EXPERIMENT.replace(before, after))
        with pytest.raises(ValueError, match=f'toy.py: .*{message}'):
            load_experiment(path)


@pytest.fixture(scope='module')
def compare():
    """Module of the tool."""
    spec = importlib.util.spec_from_file_location('compare_tool', TOOLS / 'compare.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


@pytest.fixture
def call(compare, toy, monkeypatch):
    """Function of arguments -> exit status of the tool on the toy's commands."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(compare, 'TOOLS', toy / 'tools')
    start = [str(toy / 'configs' / 'toy.py'), '--work-dir', str(toy / 'work')]
    yield lambda *args: compare.main([*start, *args])
    signal.signal(signal.SIGTERM, before)


def test_a_killed_call_is_gone_on_with(toy, call):
    write_config(toy / 'configs', 'base', 2.0, slow=True)
    begun = toy / 'work' / 'runs' / 'baseline-seed0' / 'begun'
    args = ['--methods', 'full', 'baseline', '--seeds', '0']
    code = (
        'import sys, pathlib; sys.path.insert(0, sys.argv[1]); import compare; '
        'compare.TOOLS = pathlib.Path(sys.argv[2]); sys.exit(compare.main(sys.argv[3:]))'
    )
    command = [sys.executable, '-c', code, str(TOOLS), str(toy / 'tools')]
    command += [str(toy / 'configs' / 'toy.py'), '--work-dir', str(toy / 'work'), *args]
    source = str(Path(nexusflow.__path__[0]).parent)
    env = {**os.environ, 'PYTHONPATH': source, 'OMP_NUM_THREADS': '1'}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + 100
        while not begun.exists():
            time.sleep(0.05)
            assert time.monotonic() < end and process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 128 + signal.SIGTERM
    assert call(*args) == 0
    # the finished run was not repeated, the killed one went on in its folder
    assert begun.exists() and log(toy).count('train.py full 0') == 1
    assert log(toy).count('train.py base 0') == 2


def test_every_form_of_the_results_is_written(toy, call, capsys):
    readme = toy / 'README.md'
    readme.write_text('<!-- compare:toy -->\n<!-- /compare:toy -->\n')
    assert call('--methods', 'full', '--seeds', '0', '--readme', str(readme)) == 0
    assert '| Full | 1 of 2 | 4.000 (n=1) |' in capsys.readouterr().out
    table = readme.read_text()
    assert re.search(r'\| Full \| 1 of 2 \| 4.000 \(n=1\) \|', table)
    work = toy / 'work'
    assert {'table.md', 'table.csv', 'report.html'} < {path.name for path in work.iterdir()}
    results = json.loads((work / 'results.json').read_text())
    assert results['methods']['full']['runs']['0']['metrics']['map/mAP'] == 4.0
    # where the runs are gone, the table comes from results.json
    (work / 'stages').rename(toy / 'stages')
    readme.write_text('<!-- compare:toy -->\n<!-- /compare:toy -->\n')
    assert call('--table-only', '--readme', str(readme)) == 0
    assert readme.read_text() == table


def test_runs_measured_elsewhere_are_not_repeated(toy, call, capsys):
    chosen = ('--methods', 'full', 'baseline', 'parts')
    assert call(*chosen) == 0
    table, before = (toy / 'work' / 'table.md').read_text(), log(toy)
    earlier = toy / 'earlier.json'
    (toy / 'work' / 'results.json').rename(earlier)
    (toy / 'work').rename(toy / 'gone')
    assert call(*chosen, '--elsewhere', str(earlier)) == 0
    assert '5 runs of the same configuration and data' in capsys.readouterr().out
    assert log(toy) == before and (toy / 'work' / 'table.md').read_text() == table
    # a run that does not say where it was made is of no known machine
    nameless = json.loads(earlier.read_text())
    for method in nameless['methods'].values():
        for record in method['runs'].values():
            assert len(record.pop('machine')) == 1
    write_json(toy / 'nameless.json', nameless)
    assert call(*chosen, '--elsewhere', str(toy / 'nameless.json'), '--table-only') == 0
    taken = json.loads((toy / 'work' / 'results.json').read_text())['methods']
    assert taken['full']['runs']['0']['machine'] == ['elsewhere']
    assert not (toy / 'work' / 'data').exists()  # nothing to run, no data to make
    for method in nameless['methods'].values():
        for record in method['runs'].values():
            del record['keys']
    write_json(toy / 'keyless.json', nameless)
    assert call(*chosen, '--elsewhere', str(toy / 'keyless.json'), '--table-only') == 0
    assert '0 runs of the same configuration and data' in capsys.readouterr().out
    del nameless['methods']['full']['runs']['0']['cost']
    write_json(toy / 'costless.json', nameless)
    assert call(*chosen, '--elsewhere', str(toy / 'costless.json'), '--table-only') == 2
    assert "a run lacks one of ['code', 'cost'" in capsys.readouterr().err
    # what has another configuration now is run here
    write_config(toy / 'configs', 'base', 3.0)
    assert call(*chosen, '--elsewhere', str(earlier)) == 0
    again = [('base', 0), ('base', 1), ('base', 5), ('full', 5)]
    repeated = [f'{tool}.py {name} {s}' for tool in ('test', 'train') for name, s in again]
    assert sorted(log(toy)[len(before) :]) == repeated
    earlier.write_text('{"name": "indoor"}')
    assert call('--table-only', '--elsewhere', str(earlier)) == 2
    assert (
        "earlier.json: results of another comparison: name is 'indoor'" in capsys.readouterr().err
    )


def test_status_and_message_of_a_failed_run(call, capsys):
    assert call('--methods', 'bad', 'full') == 1
    shown = capsys.readouterr()
    assert 'failed: train_bad-seed0' in shown.err and 'out of luck' in shown.err
    assert '| Full | 2 |' in shown.out
    assert call('--methods', 'none') == 2
    assert "unknown ['none']" in capsys.readouterr().err


@pytest.mark.parametrize('name', ['indoor', 'map_track', 'map_track_one_style'])
def test_every_run_of_a_shipped_comparison_resolves(name, tmp_path):
    check_that_every_run_resolves(CONFIGS / 'comparisons' / f'{name}.py', tmp_path)


def test_the_declaration_of_the_documentation_resolves(tmp_path):
    text = (TOOLS.parent / 'docs' / 'comparison.md').read_text()
    [block] = re.findall(r'^```python\n(.*?)^```', text, flags=re.DOTALL | re.MULTILINE)
    (tmp_path / 'nexusflow').symlink_to(CONFIGS / 'nexusflow')
    path = tmp_path / 'comparisons' / 'mine.py'
    path.parent.mkdir()
    path.write_text(block)
    plan = check_that_every_run_resolves(path, tmp_path)
    # its data are what its configs read
    files = {Path(str(file)).name for stage in plan.data_stages() for file in stage.outputs}
    for one in plan.runs():
        settings = plan.resolved(one)
        loaders = settings['train_dataloader'], settings['val_dataloader']
        assert {loader['dataset']['ann_file'] for loader in loaders} <= files


def check_that_every_run_resolves(path, tmp_path):
    """Also that options change something, and no method is another one under a second name; gives the plan."""
    plan = Plan(load_experiment(path), tmp_path, tmp_path / 'data', TOOLS)
    texts = {}
    for one in plan.runs(seeds=[0]):
        settings = plan.resolved(one)
        assert settings['randomness']['seed'] == 0
        for key, value in one.method.cfg_options.items():
            inner = settings
            for part in key.split('.'):
                inner = inner[part]
            assert inner == value
        plain = replace(one, method=replace(one.method, cfg_options={}))
        assert not one.method.cfg_options or plan.resolved(plain) != settings
        texts[one.name] = repr(settings)
    assert len(set(texts.values())) == len(texts)
    return plan
