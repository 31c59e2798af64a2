# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""NYUv2 from parquet, and the commands that convert and check it."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nexusflow.datasets.nyuv2_files import DenseFolder
from nexusflow.datasets.nyuv2_parquet import convert_parquet

TOOL = Path(__file__).parents[2] / 'tools' / 'create_data.py'
H, W = 4, 5


def row(i):
    rng = np.random.default_rng(i)
    normal = rng.normal(size=(3, H, W))
    return {
        'image': rng.uniform(size=(3, H, W)).astype(np.float32),
        'segmentation': rng.integers(-1, 13, (H, W)),
        'depth': rng.uniform(0, 5, (1, H, W)).astype(np.float32),
        'normal': (normal / np.linalg.norm(normal, axis=0)).astype(np.float32),
        'noise': rng.uniform(size=(1, H, W)).astype(np.float32),
    }


def write_shard(path, rows, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: [r[name].tolist() for r in rows] for name in rows[0]}
    columns.update(changes)
    inner = {'segmentation': pa.list_(pa.list_(pa.int64()))}
    dense = pa.list_(pa.list_(pa.list_(pa.float32())))
    arrays = {k: pa.array(v, inner.get(k, dense)) for k, v in columns.items() if v is not None}
    pq.write_table(pa.table(arrays), path, row_group_size=2)


@pytest.fixture
def shards(tmp_path):
    write_shard(tmp_path / 'hub/data/train-00000-of-00002.parquet', [row(i) for i in range(9)])
    write_shard(tmp_path / 'hub/data/train-00001-of-00002.parquet', [row(i) for i in range(9, 11)])
    write_shard(tmp_path / 'hub/data/val-00000-of-00001.parquet', [row(20)])
    return tmp_path / 'hub'


def test_shards_become_arrays_in_order(shards, tmp_path):
    assert convert_parquet(shards, tmp_path / 'out', 13) == {'train': 11, 'val': 1}
    files = DenseFolder(tmp_path / 'out', 'train', 13)
    assert len(files) == 11 and files.size_hw == (H, W) and files.check('all') == 11
    for i in (0, 8, 10):
        wanted = row(i)
        assert np.array_equal(files.read('image', i), wanted['image'].transpose(1, 2, 0))
        assert np.array_equal(files.read('label', i), wanted['segmentation'])
        assert np.array_equal(files.read('depth', i), wanted['depth'][0])
        assert np.array_equal(files.read('normal', i), wanted['normal'].transpose(1, 2, 0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['hub', 'out']


def test_nothing_is_written_over_or_half(shards, tmp_path):
    convert_parquet(shards, tmp_path / 'out', 13)
    with pytest.raises(FileExistsError, match='out is there already'):
        convert_parquet(shards, tmp_path / 'out', 13)
    with pytest.raises(ValueError, match=r"train-00000-.*.parquet, row 0: 'label' must hold"):
        convert_parquet(shards, tmp_path / 'few', 2)
    assert not (tmp_path / 'few').exists()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(depth=None), r"x.parquet: no column 'depth'; it has image, segmentation, normal"),
        (dict(depth=[[[[1.0] * W] * H] * 2]), r"'depth' must have shape \(4, 5, 1\)"),
        (dict(depth=[[[[1.0] * W] * 3 + [[1.0]]]]), r'row 0: depth: lists of different length'),
        (dict(depth=[None]), r'row 0: depth: lists of different length, or none'),
        (dict(depth=[[[[None] * W] * H]]), r'row 0: depth: it has empty places'),
        (dict(image=[[[[255.0] * W] * H] * 3]), r"row 0: 'image' must hold numbers in \[0, 1\]"),
    ],
)
def test_wrong_columns(tmp_path, changes, message):
    write_shard(tmp_path / 'hub/train-x.parquet', [row(0)], **changes)
    write_shard(tmp_path / 'hub/val-x.parquet', [row(1)])
    with pytest.raises(ValueError, match=message):
        convert_parquet(tmp_path / 'hub', tmp_path / 'out', 13)
    assert [path.name for path in tmp_path.iterdir()] == ['hub']


def test_a_split_is_missing(tmp_path):
    write_shard(tmp_path / 'hub/train-x.parquet', [row(0)])
    with pytest.raises(FileNotFoundError, match=r'has no val-\*.parquet'):
        convert_parquet(tmp_path / 'hub', tmp_path / 'out', 13)


def test_commands(shards, tmp_path, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        runpy.run_path(str(TOOL), run_name='__main__')

    run('nyuv2-parquet', '--root', shards, '--out', tmp_path / 'out')
    assert 'train: 11 samples' in capsys.readouterr().out
    run('nyuv2', '--root', tmp_path / 'out')
    assert 'train: 11 samples of 4 x 5 pixels are fine' in capsys.readouterr().out
    np.save(tmp_path / 'out/val/depth/0.npy', np.full((H, W, 1), -1.0))
    with pytest.raises(SystemExit, match=r"error: .*val/depth/0.npy: 'depth' must hold finite"):
        run('nyuv2', '--root', tmp_path / 'out')
