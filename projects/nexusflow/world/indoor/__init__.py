# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Indoor rooms for dense tasks: image, classes, depth and normals in the layout of MTAN's NYUv2."""
