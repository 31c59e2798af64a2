# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Models: the shared BEV, the two heads, the detector and its regularisers."""

from .bev import NexusLSSLift, NexusTemporalFusion, NexusVoxelLift
from .data_preprocessor import NexusDataPreprocessor
from .map import NexusMapHead
from .map_track_detector import NexusMapTrackDetector
from .regulariser import NexusFlowRegulariser
from .track import NexusTrackHead

__all__ = [
    'NexusDataPreprocessor',
    'NexusFlowRegulariser',
    'NexusLSSLift',
    'NexusMapHead',
    'NexusMapTrackDetector',
    'NexusTemporalFusion',
    'NexusTrackHead',
    'NexusVoxelLift',
]
