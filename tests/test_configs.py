# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What every shipped configuration keeps, with what it inherits resolved; and those that the documentation shows."""

import json
import re
from pathlib import Path

import pytest
from mmdet3d.registry import MODELS
from mmengine.config import Config

import nexusflow.models  # noqa: F401  (registers the classes)
from nexusflow.engine.comparison import markdown
from nexusflow.evaluation.functional.files import read_json

CONFIGS = Path(__file__).parents[1] / 'configs'
SHIPPED = sorted(
    path for name in ('adapter', 'nexusflow', 'nyuv2') for path in (CONFIGS / name).glob('*.py')
)
ROOT = CONFIGS.parent
DOCS = ROOT / 'docs'
RESULTS = sorted((DOCS / 'results').glob('*.json'))
R50 = [path for path in SHIPPED if path.name.startswith('nexusflow_r50')]
TINY_NUS = CONFIGS / 'nexusflow' / 'nexusflow_tiny_nus.py'


@pytest.fixture(scope='module')
def shipped():
    """Name of a file -> its settings."""
    return {path.name: Config.fromfile(path) for path in SHIPPED}


def settings_named(value, name):
    """All settings of a name, at any depth."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list | tuple)
        else ()
    )
    for key, inner in items:
        if key == name:
            yield inner
        yield from settings_named(inner, name)


def test_no_pretrained_weights_need_torchvision(shipped):
    found = {
        name: [
            init['checkpoint']
            for init in settings_named(cfg.to_dict(), 'init_cfg')
            if init and 'checkpoint' in init
        ]
        for name, cfg in shipped.items()
    }
    assert all(found[name] for name in ('mask_rcnn_r50_nexusflow.py', R50[0].name))
    assert {url.split('://')[0] for urls in found.values() for url in urls} == {'https'}


def test_every_configuration_imports_what_reads_its_checkpoints(shipped):
    """torch >= 2.6 reads a checkpoint of mmengine only after nexusflow.engine was imported."""
    without = [
        name
        for name, cfg in shipped.items()
        if 'nexusflow.engine' not in cfg.get('custom_imports', {}).get('imports', ())
    ]
    assert without == ['mask_rcnn_r50_base.py']  # mmdet's own


def test_long_trainings_write_checkpoints_on_their_way(shipped):
    for name, cfg in shipped.items():
        hook, train = cfg.default_hooks.checkpoint, cfg.train_cfg
        length = train.get('max_epochs') or train.max_iters
        assert hook.interval <= length / 2, name


@pytest.mark.parametrize('path', [*R50, TINY_NUS], ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ('version', 'split'), [(None, ''), ('v1.0-mini', 'mini_')], ids=['trainval', 'mini']
)
def test_one_variable_chooses_the_version_of_nuscenes(path, version, split, monkeypatch):
    monkeypatch.delenv('NEXUSFLOW_VERSION', raising=False)
    if version is not None:
        monkeypatch.setenv('NEXUSFLOW_VERSION', version)
    cfg = Config.fromfile(path)
    loaders = cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader
    infos = [f'nexusflow_infos_{split}{name}.pkl' for name in ('train', 'val', 'val')]
    assert [loader.dataset.ann_file for loader in loaders] == infos
    for maps, tracks in (cfg.val_evaluator, cfg.test_evaluator):
        assert Path(maps.ann_file).name == infos[1]
        assert (tracks.version, tracks.eval_set) == (version or 'v1.0-trainval', f'{split}val')


def blocks_of(page):
    """The Python blocks of a page."""
    text = page.read_text(encoding='utf-8')
    return re.findall(r'^```python\n(.*?)^```', text, flags=re.DOTALL | re.MULTILINE)


def resolved(block, folder):
    """A configuration that a page shows, as if it lay among the shipped ones."""
    path = folder / 'shown.py'
    path.write_text(block.replace("'./", f"'{CONFIGS / 'nexusflow'}/"))
    return Config.fromfile(path)


def readme_block(mark):
    """The one Python block of the README that has the mark."""
    (block,) = [block for block in blocks_of(ROOT / 'README.md') if mark in block]
    return block


def test_cities_swapped_as_the_readme_shows(tmp_path):
    supervision = resolved(readme_block('_base_ ='), tmp_path).train_dataloader.dataset.supervision
    assert supervision == dict(type='ByLocation', map=['singapore-*'], track=['boston-*'])


def test_the_method_as_the_readme_shows():
    block, names = readme_block("type='NexusFlowRegulariser'"), {}
    exec(compile(block, 'README.md', 'exec'), names)
    model = MODELS.build(names['model']['regulariser'], default_args=dict(channels=16))
    assert set(model.taps) == {'map', 'track'}


def test_plain_pytorch_as_the_readme_shows():
    names = {}
    exec(compile(readme_block('import build_nexus_flow'), 'README.md', 'exec'), names)
    assert all(names['losses'][name].isfinite() for name in ('loss_align', 'loss_guard'))


@pytest.mark.parametrize('path', RESULTS, ids=lambda path: path.stem)
def test_the_table_of_the_readme_is_that_of_the_figures(path):
    command = f'python tools/compare.py configs/comparisons/{path.stem}.py'
    mark = f'compare:{path.stem} -->'
    _, between, _ = (ROOT / 'README.md').read_text(encoding='utf-8').split(mark)
    shown = between.removesuffix('<!-- /').strip()
    assert shown == markdown(read_json(path), command).strip()


def test_every_table_of_the_readme_has_its_figures():
    names = re.findall('<!-- compare:(.*?) -->', (ROOT / 'README.md').read_text(encoding='utf-8'))
    assert sorted(names) == [path.stem for path in RESULTS]


def test_labels_by_city_as_the_documentation_shows(tmp_path):
    (block,) = blocks_of(DOCS / 'training.md')
    supervision = resolved(block, tmp_path).train_dataloader.dataset.supervision
    assert supervision == dict(type='ByLocation', map=['singapore-*'], track=['boston-*'])


def test_cities_as_splits_as_the_documentation_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'data' / 'nuscenes' / 'v1.0-trainval'
    folder.mkdir(parents=True)
    cities = ('boston-seaport', 'singapore-onenorth', 'singapore-queenstown')
    tables = dict(
        log=[dict(token=f'log {city}', location=city) for city in cities],
        scene=[dict(name=f'scene {city}', log_token=f'log {city}') for city in cities],
    )
    for name, rows in tables.items():
        (folder / f'{name}.json').write_text(json.dumps(rows))
    _, script, far, _ = blocks_of(DOCS / 'own_data.md')
    exec(compile(script, 'docs/own_data.md', 'exec'), {})
    assert json.loads((folder / 'splits.json').read_text()) == dict(
        far_train=['scene boston-seaport', 'scene singapore-onenorth'],
        far_val=['scene singapore-queenstown'],
    )
    cfg = resolved(far, tmp_path)
    assert cfg.train_dataloader.dataset.ann_file == 'nexusflow_infos_far_train.pkl'
    assert [metric.type for metric in cfg.test_evaluator] == ['NexusMapMetric', 'NexusTrackMetric']
    assert (
        cfg.test_evaluator[1].eval_set == 'far_val'
        and 'city_eval_sets' not in cfg.test_evaluator[1]
    )


def test_tracks_without_maps_as_the_documentation_shows(tmp_path, monkeypatch):
    monkeypatch.setenv('NEXUSFLOW_VERSION', 'v1.0-mini')
    monkeypatch.setenv('NEXUSFLOW_DATA_ROOT', '/somewhere')
    cfg = resolved(blocks_of(DOCS / 'own_data.md')[0], tmp_path)
    assert cfg.train_dataloader.dataset.supervision == dict(type='Full', tasks=('track',))
    for evaluators in (cfg.val_evaluator, cfg.test_evaluator):
        assert [metric.eval_set for metric in evaluators] == ['mini_val']
    for loader, split in ((cfg.train_dataloader, 'train'), (cfg.val_dataloader, 'val')):
        assert loader.dataset.data_root == '/somewhere'
        assert loader.dataset.ann_file == f'nexusflow_infos_mini_{split}.pkl'
        assert loader.dataset.pipeline[0].reduce == 4


def test_worlds_of_one_city_have_no_sets_of_cities(shipped):
    for evaluators in ('val_evaluator', 'test_evaluator'):
        metric = shipped['nexusflow_tiny_full_av2.py'][evaluators][1]
        assert metric.eval_set == 'world_val' and 'city_eval_sets' not in metric


def test_own_data_as_the_documentation_shows(tmp_path):
    cfg = resolved(blocks_of(DOCS / 'own_data.md')[-1], tmp_path)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.data_root == 'data/mine' and loader.dataset.type == 'NexusClipDataset'
    assert cfg.train_dataloader.dataset.supervision.track == ['south-*']
    assert [metric.type for metric in cfg.val_evaluator] == ['NexusMapMetric']
