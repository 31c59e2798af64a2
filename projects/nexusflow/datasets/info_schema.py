# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Names that an info file is written in: its schema, frame, classes and cameras."""

from __future__ import annotations

from typing import Any

SCHEMA = 'nexusflow'
SCHEMA_VERSION = 1
FRAME = 'lidar'

CATEGORIES = (
    'car',
    'truck',
    'trailer',
    'bus',
    'construction_vehicle',
    'bicycle',
    'motorcycle',
    'pedestrian',
    'traffic_cone',
    'barrier',
)
"""nuScenes' detection classes in mmdet3d's order; ``labels`` index into this."""

CAMERAS = (
    'CAM_FRONT',
    'CAM_FRONT_RIGHT',
    'CAM_FRONT_LEFT',
    'CAM_BACK',
    'CAM_BACK_LEFT',
    'CAM_BACK_RIGHT',
)

Info = dict[str, Any]
