# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Worlds that several test modules share; each is made once per session."""

import importlib.util
import os
from pathlib import Path

import pytest

os.environ.setdefault('OMP_NUM_THREADS', '1')
# before torch is imported: a Runner moves its model to a GPU it sees, and forks do not survive CUDA
if 'NEXUSFLOW_TEST_GPU' not in os.environ:
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
SHARED_AV2 = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'av2_log'


@pytest.fixture(scope='session')
def tiny_spec():
    """A recipe of four scenes: train and val in two cities, four frames of 160 x 90 each."""
    from nexusflow.world.build import WorldSpec

    return WorldSpec(
        train_scenes_per_city=1,
        val_scenes_per_city=1,
        frames_per_scene=4,
        train_networks_per_city=1,
        val_networks_per_city=1,
        image_size_wh=(160, 90),
    )


@pytest.fixture(scope='session')
def tiny_world(tmp_path_factory, tiny_spec):
    """Data root of the world of `tiny_spec` with seed 0, made by one process."""
    from nexusflow.world.build import make_world

    root = tmp_path_factory.mktemp('worlds') / 'tiny'
    make_world(root, tiny_spec, seed=0, workers=1, progress=False)
    return root


@pytest.fixture(scope='session')
def av2_log_dir(tmp_path_factory):
    """A real Argoverse 2 log where there is one, else the small one of the tests of its source."""
    logs = sorted(path for path in SHARED_AV2.glob('*') if path.is_dir())
    if logs:
        return logs[0]
    path = Path(__file__).parent / 'test_world' / 'test_av2_source.py'
    spec = importlib.util.spec_from_file_location('small_av2_log', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_log(tmp_path_factory.mktemp('av2') / 'small-log')


@pytest.fixture(scope='session')
def tiny_world_av2(tmp_path_factory, av2_log_dir):
    """Data root of the world of an Argoverse 2 log, 160 x 90."""
    from nexusflow.world.build import WorldSpec, make_world

    root = tmp_path_factory.mktemp('worlds') / 'av2'
    spec = WorldSpec(source='av2', av2_logs=(str(av2_log_dir),), image_size_wh=(160, 90))
    make_world(root, spec, seed=0, workers=1, progress=False)
    return root
