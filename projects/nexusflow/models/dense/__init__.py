# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""N dense tasks: trunks, heads, detector."""

from .detector import NexusDenseDetector
from .head import DenseHead
from .heads import NexusDepthHead, NexusNormalHead, NexusSegmentationHead
from .preprocessor import NexusDensePreprocessor
from .segnet import NexusSegNet
from .trunk import NexusEncoderDecoder, NexusTopDownNeck

__all__ = [
    'DenseHead',
    'NexusDenseDetector',
    'NexusDensePreprocessor',
    'NexusDepthHead',
    'NexusEncoderDecoder',
    'NexusNormalHead',
    'NexusSegNet',
    'NexusSegmentationHead',
    'NexusTopDownNeck',
]
