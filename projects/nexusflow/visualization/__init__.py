# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Pictures of samples from above and through the cameras, and the report page."""

from .bev import BevView, bev_panels, draw_bev
from .cameras import camera_mosaic, draw_on_camera
from .content import SampleContent
from .hook import NexusVisualizationHook
from .sheet import SampleCameras, sample_sheet

__all__ = [
    'BevView',
    'NexusVisualizationHook',
    'SampleCameras',
    'SampleContent',
    'bev_panels',
    'camera_mosaic',
    'draw_bev',
    'draw_on_camera',
    'sample_sheet',
]
