# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def two_tasks():
    """The module two_tasks.py."""
    path = Path(__file__).with_name('two_tasks.py')
    spec = importlib.util.spec_from_file_location('two_tasks', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
