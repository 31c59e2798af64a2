# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What decides a world's bytes besides its recipe: code, libraries, and what it is drawn from."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path


def code_fingerprint(*folders: Path) -> str:
    """SHA-256 over the names and bytes of the folders' Python files."""
    return files_fingerprint([path for folder in folders for path in sorted(folder.glob('*.py'))])


def files_fingerprint(files: Sequence[Path]) -> str:
    """SHA-256 over the names and bytes of files; where they lie does not matter."""
    digest = hashlib.sha256()
    for path in files:
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
