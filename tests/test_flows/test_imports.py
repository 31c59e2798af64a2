# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The lower half of the house stands without OpenMMLab, the method without anything but torch."""

import subprocess
import sys

import pytest

import nexusflow

BLOCK = """
import importlib, pkgutil, sys
from importlib.abc import MetaPathFinder

class Block(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {blocked!r}:
            raise ImportError('blocked: ' + name)

sys.meta_path.insert(0, Block())
sys.path.insert(0, {source!r})
package = importlib.import_module('nexusflow.{package}')
for module in pkgutil.iter_modules(package.__path__):
    importlib.import_module('nexusflow.{package}.' + module.name)
"""
OPENMMLAB = ['mmengine', 'mmcv', 'mmdet', 'mmdet3d']
REST = ['shapely', 'cv2', 'scipy', 'nuscenes', 'pyquaternion', 'matplotlib', 'pandas']


@pytest.mark.parametrize(
    ('package', 'blocked'),
    [
        ('flows', OPENMMLAB + REST),
        ('supervision', OPENMMLAB + REST),
        ('geometry', OPENMMLAB),
        ('world', OPENMMLAB),
    ],
)
def test_imports_without(package, blocked):
    source = nexusflow.__path__[0].rsplit('/', 1)[0]
    code = BLOCK.format(blocked=blocked, package=package, source=source)
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
