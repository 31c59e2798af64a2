# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Transforms of clips: loading, image and BEV augmentation, packing."""

from nexusflow.datasets.transforms.bev_aug import NexusBevAug
from nexusflow.datasets.transforms.image_aug import NexusImageAug
from nexusflow.datasets.transforms.loading import NexusLoadMultiViewImages
from nexusflow.datasets.transforms.packing import NexusPackClip

__all__ = ['NexusBevAug', 'NexusImageAug', 'NexusLoadMultiViewImages', 'NexusPackClip']
