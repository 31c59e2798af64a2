# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import importlib.util
from pathlib import Path

import pytest


def load_beside(name):
    """The module of a file beside this one."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f'{name}.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='session')
def two_tasks():
    return load_beside('two_tasks')


@pytest.fixture(scope='session')
def toy_run():
    return load_beside('toy_run')
