# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The two-city world: sources of maps and traffic, cameras, rendering, the nuScenes writer."""
