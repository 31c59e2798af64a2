# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Tables of label flags: a row per image, a column per task, 0 or 1.

Three forms hold the same: CSV with a header, ``index,semantic,depth,normal``; JSON, a list of
``{"index": 0, "semantic": 1, ...}``; and the files that MTPSL and JTR publish, a tensor
``labels_weights`` of shape [images, tasks] saved by PyTorch. The last are pickles: they are read
with ``weights_only=True``, which makes no objects but tensors.
"""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

__all__ = ['INDEX', 'PUBLISHED_COLUMNS', 'read_table']

INDEX = 'index'
#: Columns of the published tensors, which have no names of their own.
PUBLISHED_COLUMNS = ('semantic', 'depth', 'normal')
_TENSOR = 'labels_weights'


def read_table(
    path: str | Path, columns: Sequence[str] = PUBLISHED_COLUMNS
) -> list[dict[str, int]]:
    """Reads a table of flags.

    Args:
        path: A .csv, .json or .pth file.
        columns: Names of the columns of a .pth file.

    Returns:
        For each image, in order, the flag of each column.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not such a file: its form, a column, an index or a value is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"label table '{path}' does not exist; correct 'path'")
    readers = {'.csv': _read_csv, '.json': _read_json}
    if path.suffix == '.pth':
        return _read_tensor(path, columns)
    if path.suffix not in readers:
        raise ValueError(f"label table '{path}': its name must end in .csv, .json or .pth")
    rows = readers[path.suffix](path)
    return [_checked(row, i, path) for i, row in enumerate(rows)]


def _read_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding='utf-8', newline='') as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
    if INDEX not in (reader.fieldnames or ()):
        raise ValueError(
            f"label table '{path}': no column '{INDEX}' in its first line {reader.fieldnames}; "
            'the first line must be like index,semantic,depth,normal'
        )
    return [{str(k): _number(value) for k, value in row.items()} for row in rows]


def _number(text: Any) -> Any:
    """A whole number if the text is one; else the text, for the message."""
    return int(text) if isinstance(text, str) and text.strip().isdecimal() else text


def _read_json(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f"label table '{path}' is not JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(
            f"label table '{path}' must hold a list of objects like "
            '{"index": 0, "semantic": 1, "depth": 0, "normal": 0}'
        )
    return rows


def _checked(row: Mapping[str, Any], i: int, path: Path) -> dict[str, int]:
    """The flags of a row, without its index."""
    if type(row.get(INDEX)) is not int or row[INDEX] != i:
        raise ValueError(
            f"label table '{path}', row {i}: '{INDEX}' is {row.get(INDEX)!r}, it must be {i}: rows "
            'follow the images 0, 1, 2, ...'
        )
    flags = {name: value for name, value in row.items() if name != INDEX}
    for name, value in flags.items():
        if type(value) is not int or value not in (0, 1):
            raise ValueError(
                f"label table '{path}', row {i}, column '{name}': {value!r} is neither 0 nor 1"
            )
    return flags


def _read_tensor(path: Path, columns: Sequence[str]) -> list[dict[str, int]]:
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"label table '{path}' is not a file of tensors saved by PyTorch: "
            f'{str(error).splitlines()[0]}'
        ) from error
    table = content.get(_TENSOR) if isinstance(content, dict) else None
    if not isinstance(table, torch.Tensor) or table.dim() != 2 or table.shape[1] != len(columns):
        found = tuple(table.shape) if isinstance(table, torch.Tensor) else type(table).__name__
        raise ValueError(
            f"label table '{path}': '{_TENSOR}' must be a tensor [images, {len(columns)}] with the "
            f"columns {list(columns)}, but it is {found}; name its columns with 'columns'"
        )
    if not bool(((table == 0) | (table == 1)).all()):
        row = int(((table != 0) & (table != 1)).any(dim=1).nonzero()[0])
        raise ValueError(
            f"label table '{path}', row {row}: {table[row].tolist()} has values besides 0 and 1"
        )
    return [dict(zip(columns, row, strict=True)) for row in table.to(torch.int64).tolist()]
