# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""tools/analyze.py on an untrained model of the shipped kind, small, and on one of three dense tasks."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]
FAR = dict(range_m=(-51.2, -51.2, 51.2, 51.2), cell_m=6.4)
NEAR = dict(range_m=(-15.0, -30.0, 15.0, 30.0), cell_m=5.0)
TRACING = dict(num_rings=3, tracer=dict(num_seeds=10, num_steps=4))
SHRINK = {
    'model.lift.grid': FAR,
    'model.temporal.grid': FAR,
    'model.near.far_grid': FAR,
    'model.near.grid': NEAR,
    'model.map_head.bev_grid': NEAR,
    'model.map_head.grid': NEAR,
    'model.map_head.num_queries': 8,
    'model.map_head.tracing': TRACING,
    'model.track_head.bev_grid': FAR,
    'model.track_head.grid': FAR,
    'model.track_head.num_queries': 10,
}
DENSE_SHRINK = {
    'image_hw': (32, 64),
    'model.trunk.backbone.base_channels': 4,
    'model.trunk.neck': dict(in_channels=[4, 8, 16, 32], out_channels=8),
    'model.regulariser.dim': 8,
    'model.regulariser.flow.num_layers': 2,
}
SHRINK_REGULARISER = {'model.regulariser.dim': 16, 'model.regulariser.flow.num_layers': 2}


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def analyze():
    return load(ROOT / 'tools' / 'analyze.py')


@pytest.fixture
def dense_data(tmp_path):
    folder = load(ROOT / 'tests' / 'test_models' / 'dense_folder.py')
    return folder.write_folder(tmp_path / 'rooms', dict(val=5))


def untrained(folder, name, changes):
    """A config file and a checkpoint of its fresh model."""
    register_all_modules()
    cfg = Config.fromfile(ROOT / 'configs' / name)
    cfg.merge_from_dict(changes)
    config, checkpoint = folder / 'config.py', folder / 'model.pth'
    config.write_text('\n'.join(f'{key} = {value!r}' for key, value in cfg.to_dict().items()))
    torch.manual_seed(0)
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), checkpoint)
    return str(config), str(checkpoint)


def map_track(folder, drawn_data, name, changes):
    data = {
        'val_dataloader.dataset.data_root': str(drawn_data.root),
        'val_dataloader.dataset.ann_file': drawn_data.info_file.name,
        'val_dataloader.dataset.pipeline.1.size_hw': (48, 96),
    }
    return untrained(folder, f'nexusflow/{name}', {**data, **SHRINK, **changes})


def test_figures_and_features_of_nexusflow(analyze, drawn_data, tmp_path):
    paths = map_track(tmp_path, drawn_data, 'nexusflow_tiny.py', SHRINK_REGULARISER)
    analyze.main([*paths, '--out', str(tmp_path), '--samples', '6', '--batch-size', '4'])
    found = json.loads((tmp_path / 'analysis.json').read_text())
    assert found['samples'] == 6
    # spread over the data set: its first half is Boston
    assert found['places'] == ['boston-seaport'] * 3 + ['singapore-onenorth'] * 3
    assert set(found['spaces']) == {'pooled', 'embedding', 'z'}
    assert set(found['spaces']['z']['mmd2']) == {'map-track'}
    assert 0 <= found['spaces']['pooled']['cka']['map-track'] <= 1
    assert np.shape(found['tsne']['pooled']['map']) == (6, 2)
    assert np.shape(found['tsne']['z']['track']) == (6, 2)
    with np.load(tmp_path / 'features.npz') as features:
        assert features['z/map'].shape == (6, 16) and features['pooled/track'].shape == (6, 48)
        assert np.isfinite(features['z/track']).all()


def test_method_without_surrogates_has_pooled_features(analyze, drawn_data, tmp_path):
    paths = map_track(tmp_path, drawn_data, 'nexusflow_tiny_baseline.py', {})
    analyze.main([*paths, '--out', str(tmp_path), '--samples', '4'])
    found = json.loads((tmp_path / 'analysis.json').read_text())
    assert list(found['spaces']) == ['pooled'] and list(found['tsne']) == ['pooled']
    rank = found['spaces']['pooled']['effective_rank']
    assert all(1 <= rank[task] <= 3.001 for task in ('map', 'track'))  # of four samples


def test_three_dense_tasks_have_a_figure_for_each_pair(analyze, dense_data, tmp_path):
    changes = DENSE_SHRINK | {'val_dataloader.dataset.data_root': str(dense_data)}
    paths = untrained(tmp_path, 'nyuv2/nyuv2_tiny_nexusflow.py', changes)
    analyze.main([*paths, '--out', str(tmp_path), '--samples', '5'])
    found = json.loads((tmp_path / 'analysis.json').read_text())
    assert found['samples'] == 5 and found['places'] == [''] * 5
    assert set(found['spaces']) == {'pooled', 'embedding', 'z'}
    pairs = {'segmentation-depth', 'segmentation-normal', 'depth-normal'}
    assert all(set(space['mmd2']) == pairs for space in found['spaces'].values())
    assert all(0 <= share <= 1 for share in found['spaces']['pooled']['cka'].values())
    with np.load(tmp_path / 'features.npz') as features:
        assert features['z/normal'].shape == (5, 8) and np.isfinite(features['z/normal']).all()
