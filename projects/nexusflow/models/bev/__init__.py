# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The shared bird's-eye view: lifting, temporal fusion, task crops, deformable attention."""

from .grid import BEVGrid
from .lss_lift import NexusLSSLift
from .near_level import NexusNearLevel
from .temporal import NexusTemporalFusion
from .voxel_lift import NexusVoxelLift

__all__ = ['BEVGrid', 'NexusLSSLift', 'NexusNearLevel', 'NexusTemporalFusion', 'NexusVoxelLift']
