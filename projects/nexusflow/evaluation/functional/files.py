# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Files that are either complete or absent: written beside their place, then moved into it."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

__all__ = ['read_json', 'write_bytes', 'write_json', 'write_text']


def write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write a file atomically; its folder is made when it is missing.

    Args:
        path: Where the file shall be.
        data: What it shall hold.

    Returns:
        The path of the complete file.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f'.{target.name}.')
    try:
        with os.fdopen(handle, 'wb') as stream:
            stream.write(data)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text file (UTF-8) atomically."""
    return write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], content: Any, indent: int | None = None) -> Path:
    """Write a JSON file atomically; NaN and infinity are refused with ``ValueError``."""
    return write_text(path, json.dumps(content, indent=indent, allow_nan=False))


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is no JSON; the message names the file.
    """
    try:
        return json.loads(Path(path).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f'{path}: not a JSON file ({error}); write it again') from error
