# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Models: the shared BEV, the two heads, the detector and its regularisers."""

from .adapter import NexusFlowAdapter
from .bev import NexusLSSLift, NexusTemporalFusion, NexusVoxelLift
from .data_preprocessor import NexusDataPreprocessor
from .dense import (
    NexusDenseDetector,
    NexusDensePreprocessor,
    NexusDepthHead,
    NexusEncoderDecoder,
    NexusNormalHead,
    NexusSegmentationHead,
    NexusSegNet,
    NexusTopDownNeck,
)
from .dense_regularisers import JTRRegulariser, MTPSLRegulariser
from .map import NexusMapHead
from .map_track_detector import NexusMapTrackDetector
from .regulariser import NexusFlowRegulariser
from .track import NexusTrackHead

__all__ = [
    'JTRRegulariser',
    'MTPSLRegulariser',
    'NexusDataPreprocessor',
    'NexusDenseDetector',
    'NexusDensePreprocessor',
    'NexusDepthHead',
    'NexusEncoderDecoder',
    'NexusFlowAdapter',
    'NexusFlowRegulariser',
    'NexusLSSLift',
    'NexusMapHead',
    'NexusMapTrackDetector',
    'NexusNormalHead',
    'NexusSegNet',
    'NexusSegmentationHead',
    'NexusTemporalFusion',
    'NexusTopDownNeck',
    'NexusTrackHead',
    'NexusVoxelLift',
]
