# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Packaging: the package from projects/nexusflow, with configs and tools inside it as ``.mim``."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SOURCE = 'projects/nexusflow'
OPENMMLAB = [
    'mmengine>=0.10,<0.11',
    'mmcv>=2.0.0rc4,<2.2.0',
    'mmdet>=3.0.0,<3.4.0',
    'mmdet3d>=1.4.0,<1.5.0',
    # Images are read and warped with cv2; scipy assigns predictions to objects.
    'opencv-python-headless',
    'scipy',
    # mmengine imports its pkg_resources
    'setuptools<81',
]
# The official evaluation; OpenCV draws what raster metrics compare, scipy matches tracks.
EVAL = ['nuscenes-devkit>=1.2.0', 'motmetrics>=1.4.0', 'pandas', 'opencv-python-headless', 'scipy']
EXPORT = ['onnx>=1.17', 'onnxruntime>=1.20', 'onnxscript']
# t-SNE in the page of a comparison.
REPORT = ['scikit-learn>=1.2']
# Other flows, to measure ours beside them.
PEERS = ['FrEIA==0.2', 'normflows==1.7.3', 'nflows==0.14', 'zuko==1.6.0']
WORLD = ['eclipse-sumo>=1.28', 'sumolib>=1.28', 'pyarrow', 'opencv-python-headless', 'tqdm']


class BuildWithMim(build_py):
    """Puts configs/ and tools/ where mim looks for them; an editable install needs no copy."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for folder in ('configs', 'tools'):
            target = Path(self.build_lib, 'nexusflow', '.mim', folder)
            ignored = shutil.ignore_patterns('__pycache__')
            shutil.copytree(ROOT / folder, target, ignore=ignored, dirs_exist_ok=True)


def read_version() -> str:
    text = (ROOT / SOURCE / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE).group(1)


def read_readme() -> str:
    path = ROOT / 'README.md'
    return path.read_text(encoding='utf-8') if path.exists() else ''


packages = ['nexusflow'] + [f'nexusflow.{name}' for name in find_packages(SOURCE)]
setup(
    name='nexusflow',
    version=read_version(),
    description='Partially supervised multi-task perception: maps, tracks and invertible alignment',
    long_description=read_readme(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    package_dir={'nexusflow': SOURCE},
    packages=packages,
    package_data={'nexusflow': ['**/*.json', '**/*.html', '**/*.css', '**/*.js']},
    # torch: the method; numpy and shapely: frames, boxes and vector maps; the other: Muon for the tiny configs.
    install_requires=[
        'torch>=2.1',
        'numpy>=1.22',
        'shapely>=2.0',
        'pytorch_optimizer>=4.1,<4.2',
        'threadpoolctl>=3',
    ],
    extras_require={
        'mmdet3d': OPENMMLAB,
        'eval': EVAL,
        'world': WORLD,
        'export': EXPORT,
        'peers': PEERS,
        'report': REPORT,
        'dev': [*EXPORT, 'interrogate', 'mypy', 'pytest', 'ruff'],
    },
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
)
