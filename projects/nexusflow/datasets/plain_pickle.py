# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Pickles of plain containers and numpy arrays, read without running code and written atomically."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np

_ADMITTED = {
    ('collections', 'OrderedDict'),
    ('_codecs', 'encode'),
    ('numpy', 'ndarray'),
    ('numpy', 'dtype'),
    ('numpy.core.multiarray', '_reconstruct'),
    ('numpy.core.multiarray', 'scalar'),
    ('numpy.core.numeric', '_frombuffer'),
}
_ADMITTED_BUILTINS = {'set', 'frozenset', 'complex', 'slice', 'bytearray', 'range'}


class InfoFileError(ValueError):
    """An info file that cannot be used; the message names the file, the field and the mend."""


class _PlainUnpickler(pickle.Unpickler):
    """Builds containers and numpy arrays, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Admit the names above only; numpy 1 and 2 read each other's files."""
        old_name = module.replace('numpy._core', 'numpy.core')
        plain = module == 'builtins' and name in _ADMITTED_BUILTINS
        if not plain and (old_name, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f'it contains a {module}.{name}, which is not plain data')
        if np.lib.NumpyVersion(np.__version__) < '2.0.0':
            return super().find_class(old_name, name)
        return super().find_class(old_name.replace('numpy.core', 'numpy._core'), name)


def load_plain(path: Path) -> Any:
    """Read a pickle of plain containers and numpy arrays.

    Args:
        path: The file.

    Returns:
        What the file holds.

    Raises:
        InfoFileError: The file is truncated, no pickle, or holds anything but plain data.
    """
    data = path.read_bytes()
    try:
        content = _PlainUnpickler(io.BytesIO(data)).load()
        _refuse_forged(content)
    # a broken pickle may raise anything
    except Exception as e:
        raise InfoFileError(
            f'{path}: cannot be read as an info file: {e}; make it again with tools/create_data.py'
        ) from e
    return content


def _refuse_forged(content: Any) -> None:
    """Refuse arrays whose dtype a file has given parts that numpy would not: they read memory at will."""
    todo, seen, plain = [content], set(), set()
    while todo:
        value = todo.pop()
        if isinstance(value, (np.ndarray, np.generic)):
            # a file's arrays share a few of them
            if id(value.dtype) not in plain:
                if not _is_plain_dtype(value.dtype):
                    raise pickle.UnpicklingError(
                        f'it contains an array of dtype {value.dtype.kind}'
                    )
                plain.add(id(value.dtype))
            todo += value.tolist() if value.dtype.hasobject else []
        elif isinstance(value, (dict, list, tuple, set, frozenset)) and id(value) not in seen:
            seen.add(id(value))
            todo += [*value.keys(), *value.values()] if isinstance(value, dict) else value


def _is_plain_dtype(dtype: np.dtype) -> bool:
    """Numbers, text, times or objects, without fields, and with the flags that go with its kind."""
    plain = dtype.kind in 'biufcSUmMO' and dtype.fields is None and dtype.subdtype is None
    return plain and dtype.flags == np.dtype(dtype.str).flags


def save_plain(path: Path, content: Any) -> None:
    """Write a pickle so that the file is either complete or not there.

    Args:
        path: The file; its folder must exist.
        content: Plain containers and numpy arrays.
    """
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with temporary.open('wb') as f:
            pickle.dump(content, f, protocol=4)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
