# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Indoor data sets on disk: the layout, the same bytes for any number of workers, the command."""

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from nexusflow.world.indoor.build import make_indoor
from nexusflow.world.indoor.spec import CLASSES, IndoorSpec
from nexusflow.world.staging import RECORD_NAME

SPEC = IndoorSpec(train_images=6, val_images=5, image_size_wh=(64, 48))
TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'make_world.py'


def digest(root):
    total = hashlib.sha256()
    for path in sorted(p for p in root.rglob('*') if p.is_file()):
        total.update(str(path.relative_to(root)).encode() + b'\0' + path.read_bytes())
    return total.hexdigest()


@pytest.fixture(scope='module')
def rooms(tmp_path_factory):
    root = tmp_path_factory.mktemp('indoor') / 'rooms'
    assert make_indoor(root, SPEC, seed=0, workers=1, progress=False)
    return root


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('make_world_tool', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_layout(rooms):
    for split, count in (('train', 6), ('val', 5)):
        for folder in ('image', 'label', 'depth', 'normal'):
            names = sorted(path.name for path in (rooms / split / folder).iterdir())
            assert names == [f'{i}.npy' for i in range(count)]
    record = json.loads((rooms / RECORD_NAME).read_text())
    assert record['classes'] == list(CLASSES) and record['spec']['image_size_wh'] == [64, 48]
    assert np.allclose(record['cam2img'], [[51.84, 0, 31.5], [0, 51.84, 23.5], [0, 0, 1]])


def test_two_workers_write_the_same_bytes(rooms, tmp_path):
    assert make_indoor(tmp_path / 'again', SPEC, seed=0, workers=2, progress=False)
    assert digest(tmp_path / 'again') == digest(rooms)
    assert [path.name for path in tmp_path.iterdir()] == ['again']


def test_no_room_twice(rooms):
    depths = [np.load(path).tobytes() for path in sorted(rooms.glob('*/depth/*.npy'))]
    assert len(set(depths)) == 11


def test_what_is_there_is_left(rooms, tmp_path):
    before = digest(rooms)
    assert not make_indoor(rooms, SPEC, seed=0, workers=1, progress=False)
    with pytest.raises(FileExistsError, match='seed 0 instead of 1'):
        make_indoor(rooms, SPEC, seed=1, workers=1, progress=False)
    assert digest(rooms) == before
    small = IndoorSpec(1, 1, (32, 32))
    assert make_indoor(tmp_path / 'x', small, seed=0, workers=1, progress=False)
    first = digest(tmp_path / 'x')
    assert make_indoor(tmp_path / 'x', small, seed=1, workers=1, progress=False, overwrite=True)
    assert digest(tmp_path / 'x') != first
    for arguments in (dict(seed=0, workers=0), dict(seed=-1, workers=1)):
        with pytest.raises(ValueError, match='at least 1, got 0|0 or more, got -1'):
            make_indoor(tmp_path / 'y', small, progress=False, **arguments)


def test_command(tool, tmp_path, capsys):
    out = str(tmp_path / 'rooms')
    command = ['--kind', 'indoor', '--out', out, '--preset', 'tiny', '--workers', '1']
    command += ['--train-images', '2', '--val-images', '1', '--image-size', '48', '32']
    assert tool.main(command) == 0
    assert np.load(tmp_path / 'rooms/train/image/1.npy').shape == (32, 48, 3)
    assert tool.main(command) == 0
    assert 'already there' in capsys.readouterr().out
    assert tool.main([*command, '--domain-gap', '0.5']) == 2
    assert 'error: --domain-gap does not belong to --kind indoor' in capsys.readouterr().err
    assert tool.main(['--out', out, '--train-images', '3']) == 2
    assert '--train-images does not belong to --kind cities' in capsys.readouterr().err
    assert tool.main(['--kind', 'indoor', '--out', out, '--preset', 'bench']) == 2
    assert 'one of demo, nyuv2, tiny' in capsys.readouterr().err


def test_city_options_as_before(tool):
    assert tool.spec_of(tool.parse_args(['--out', 'x'])) == tool.PRESETS['demo']
    spec = tool.spec_of(
        tool.parse_args('--out x --source av2 --av2-log a b --image-size 64 36'.split())
    )
    assert spec.av2_logs == ('a', 'b') and spec.source == 'av2' and spec.image_size_wh == (64, 36)
    spec = tool.spec_of(tool.parse_args('--out x --domain-gap 0 --frames-per-scene 5'.split()))
    assert spec.domain_gap == 0 and spec.frames_per_scene == 5
