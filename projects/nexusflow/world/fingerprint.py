# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What decides a world's bytes besides its recipe: the code and the libraries that draw it."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path


def code_fingerprint(folder: Path) -> str:
    """SHA-256 over the names and bytes of a folder's Python files."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob('*.py')):
        digest.update(path.name.encode() + b'\0' + path.read_bytes() + b'\0')
    return digest.hexdigest()


def library_versions(packages: Sequence[str]) -> dict[str, str]:
    """Installed version of each package; empty where there is none."""
    return {name: _version(name) for name in packages}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ''
