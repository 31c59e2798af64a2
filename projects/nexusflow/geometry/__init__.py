# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Frames, boxes, polylines and the vector map: numpy and shapely only."""
