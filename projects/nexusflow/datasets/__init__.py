# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Data: conversion, info files, clips, samplers and transforms. Importing registers the classes."""

from nexusflow.datasets.clip_dataset import NexusClipDataset
from nexusflow.datasets.info_file import InfoFileError, load_info, save_info
from nexusflow.datasets.nyuv2 import NexusDenseDataset
from nexusflow.datasets.samplers import NexusSceneSampler
from nexusflow.datasets.transforms import (
    NexusBevAug,
    NexusImageAug,
    NexusLoadMultiViewImages,
    NexusPackClip,
)

__all__ = [
    'InfoFileError',
    'NexusBevAug',
    'NexusClipDataset',
    'NexusDenseDataset',
    'NexusImageAug',
    'NexusLoadMultiViewImages',
    'NexusPackClip',
    'NexusSceneSampler',
    'load_info',
    'save_info',
]
