# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""NexusFlow: one perception model from samples that carry labels for some tasks only (arXiv 2512.06251)."""

__version__ = '0.1.0'
