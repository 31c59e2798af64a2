# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Pure evaluation functions: numpy in, numbers out, no OpenMMLab."""
