# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Transforms of clips (loading, image and BEV augmentation, packing) and of images with dense labels."""

from nexusflow.datasets.transforms.bev_aug import NexusBevAug
from nexusflow.datasets.transforms.dense_colour import NexusDenseColour
from nexusflow.datasets.transforms.dense_edges import NexusLabelEdges
from nexusflow.datasets.transforms.dense_geometry import (
    NexusDenseFlip,
    NexusDenseResize,
    NexusDenseScaleCrop,
)
from nexusflow.datasets.transforms.dense_packing import NexusPackDense
from nexusflow.datasets.transforms.image_aug import NexusImageAug
from nexusflow.datasets.transforms.label_tasks import NexusLabelTasks
from nexusflow.datasets.transforms.loading import NexusLoadMultiViewImages
from nexusflow.datasets.transforms.packing import NexusPackClip

__all__ = [
    'NexusBevAug',
    'NexusDenseColour',
    'NexusDenseFlip',
    'NexusDenseResize',
    'NexusDenseScaleCrop',
    'NexusImageAug',
    'NexusLabelEdges',
    'NexusLabelTasks',
    'NexusLoadMultiViewImages',
    'NexusPackClip',
    'NexusPackDense',
]
