# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What every shipped configuration keeps, with what it inherits resolved."""

from pathlib import Path

import pytest
from mmengine.config import Config

CONFIGS = Path(__file__).parents[1] / 'configs'
SHIPPED = sorted(
    path for name in ('adapter', 'nexusflow', 'nyuv2') for path in (CONFIGS / name).glob('*.py')
)
R50 = [path for path in SHIPPED if path.name.startswith('nexusflow_r50')]


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


@pytest.mark.parametrize('path', R50, ids=lambda path: path.stem)
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
