# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A folder that appears complete or not at all, with a record of what it was made from."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RECORD_NAME = 'world.json'
_FORMER = 'former'


def write_json(path: Path, content: Mapping[str, object] | Sequence[object]) -> None:
    """Writes JSON through a temporary file beside it, one line per row of a list or entry of a dictionary."""
    # Indentation would cost the C encoder, and five times the time.
    encode = json.JSONEncoder(separators=(',', ':'), allow_nan=False).encode
    if isinstance(content, Mapping):
        rows, ends = [f'{encode(key)}: {encode(value)}' for key, value in content.items()], '{}'
    else:
        rows, ends = [encode(row) for row in content], '[]'
    text = f'{ends[0]}\n' + ',\n'.join(rows) + f'\n{ends[1]}\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.partial-{os.getpid()}')
    temporary.write_text(text, encoding='utf-8')
    os.replace(temporary, path)


def is_complete(out: Path, record: Mapping[str, Any], overwrite: bool) -> bool:
    """Tells whether a folder already holds what `record` describes.

    Args:
        out: The folder.
        record: Recipe, plain JSON values; compared with the one in the folder's `world.json`.
        overwrite: Whether another world may be replaced.

    Returns:
        True if there is nothing to do; False if the folder must be made.

    Raises:
        FileExistsError: If the folder holds something else. With `overwrite`, only what is not a
            world is an error, so that no other folder is ever removed.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    found = _read_record(out)
    if found == record:
        return True
    if overwrite:
        return False
    changed = [key for key in record if found.get(key) != record[key]]
    raise FileExistsError(
        f'--out {out} holds a world of another recipe ({RECORD_NAME}: '
        + '; '.join(f'{key} {_differences(found.get(key), record[key])}' for key in changed)
        + '): use another --out, or --overwrite to replace it'
    )


@contextmanager
def staged_folder(out: Path) -> Iterator[Path]:
    """Gives a folder beside `out` to fill; it becomes `out` if the block ends without an error.

    A process that is killed leaves `<out>.partial-<host>-<pid>`, which nobody reads and which the next call on that
    host removes. A world that stands at `out` is replaced; if the process is killed while it does that, the next call
    puts the former one back first.

    Args:
        out: The final folder.

    Yields:
        The folder to fill.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(out)
    partial = staging_path(out, os.getpid())
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if out.exists():
            former = staging_path(out, os.getpid(), _FORMER)
            os.replace(out, former)
            os.replace(partial, out)
            shutil.rmtree(former)
        else:
            os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _read_record(out: Path) -> dict[str, Any]:
    path = out / RECORD_NAME
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict):
        raise FileExistsError(
            f'--out {out} exists and is not a world (it has no readable {RECORD_NAME}): '
            'use another --out, or remove it yourself'
        )
    return record


def _differences(found: object, wanted: object) -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = [key for key in wanted if found.get(key) != wanted[key]]
        return ', '.join(f'{key} {found.get(key)!r} instead of {wanted[key]!r}' for key in keys)
    if isinstance(found, str) and len(found) > 32:
        return 'differs'
    return f'{found!r} instead of {wanted!r}'


def staging_path(out: Path, pid: int, kind: str = 'partial') -> Path:
    """Folder of a process beside `out`; a file system may be shared, so process ids are those of a host."""
    return out.with_name(f'{out.name}.{kind}-{socket.gethostname()}-{pid}')


def _remove_stale(out: Path) -> None:
    """Puts back or removes what processes of this host that no longer run have left."""
    for kind in (_FORMER, 'partial'):
        for path in out.parent.glob(f'{out.name}.{kind}-*'):
            pid = path.name.rpartition('-')[2]
            if (
                not pid.isdigit()
                or path != staging_path(out, int(pid), kind)
                or _is_running(int(pid))
            ):
                continue
            if kind == _FORMER and not out.exists():
                os.replace(path, out)
            else:
                shutil.rmtree(path)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it runs, and belongs to another user
        pass
    return True
