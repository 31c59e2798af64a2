# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""NYUv2 from parquet shards into the layout of MTAN's arrays.

The shards ``train-*.parquet`` and ``val-*.parquet`` hold a row per image with channels first: image
f32[3, H, W], segmentation i64[H, W], depth f32[1, H, W], normal f32[3, H, W]; further columns are left
out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nexusflow.datasets.nyuv2_files import DENSE_FIELDS
from nexusflow.world.staging import staged_folder

__all__ = ['convert_parquet']

SPLITS = ('train', 'val')
#: Field to column.
_COLUMNS = {'image': 'image', 'label': 'segmentation', 'depth': 'depth', 'normal': 'normal'}
_DTYPES = {'label': np.int8}
_ROWS_AT_ONCE = 8


def convert_parquet(root: str | Path, out: str | Path, num_classes: int) -> dict[str, int]:
    """Writes the arrays of all shards; complete, or not at all.

    Args:
        root: Folder of the shards, or one above a folder ``data`` with them.
        out: Data root to make.
        num_classes: Number of classes.

    Returns:
        Number of images of each split.

    Raises:
        FileExistsError: ``out`` is there already.
        FileNotFoundError: A split has no shards.
        ValueError: A shard lacks a column, or an array does not fit the layout.
    """
    out = Path(out).resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f'--out {out} is there already: remove it, or use another folder')
    shards = {split: _shards(Path(root), split) for split in SPLITS}
    with staged_folder(out) as partial:
        return {
            split: _write_split(paths, partial / split, num_classes)
            for split, paths in shards.items()
        }


def _shards(root: Path, split: str) -> list[Path]:
    for folder in (root, root / 'data'):
        if paths := sorted(folder.glob(f'{split}-*.parquet')):
            return paths
    raise FileNotFoundError(f'{root} has no {split}-*.parquet, nor has {root / "data"}')


def _write_split(shards: Sequence[Path], folder: Path, num_classes: int) -> int:
    for field in DENSE_FIELDS:
        (folder / field.name).mkdir(parents=True)
    size_hw, count = None, 0
    for where, sample in _samples(shards):
        size_hw = size_hw or sample['image'].shape[:2]
        for field in DENSE_FIELDS:
            array = sample[field.name]
            field.check_shape(array.shape, size_hw, where)
            field.check_values(array, num_classes, where)
            array = array.astype(_DTYPES.get(field.name, np.float32))
            np.save(folder / field.name / f'{count}.npy', array, allow_pickle=False)
        count += 1
    return count


def _samples(shards: Sequence[Path]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Where each row is, and its arrays with channels last."""
    for shard in shards:
        file = pq.ParquetFile(shard)
        absent = [name for name in _COLUMNS.values() if name not in file.schema_arrow.names]
        if absent:
            raise ValueError(
                f"{shard}: no column '{absent[0]}'; it has {', '.join(file.schema_arrow.names)}"
            )
        row = 0
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=list(_COLUMNS.values())):
            for k in range(len(batch)):
                where = f'{shard}, row {row}'
                yield (
                    where,
                    {
                        field: _last(_array(batch.column(column).slice(k, 1), f'{where}: {column}'))
                        for field, column in _COLUMNS.items()
                    },
                )
                row += 1


def _last(array: np.ndarray) -> np.ndarray:
    """(C, H, W) to (H, W, C); (H, W) as it is."""
    return np.moveaxis(array, 0, -1) if array.ndim == 3 else array


def _array(cell: pa.Array, where: str) -> np.ndarray:
    """One cell of nested lists as an array."""
    if isinstance(cell, pa.ExtensionArray):
        cell = cell.storage
    shape = []
    while pa.types.is_nested(cell.type):
        lengths = pc.unique(pc.list_value_length(cell))
        if cell.null_count or len(lengths) != 1:
            raise ValueError(f'{where}: lists of different length, or none; it must be an array')
        shape.append(lengths[0].as_py())
        cell = cell.flatten()
    if cell.null_count:
        raise ValueError(f'{where}: it has empty places; it must be an array of numbers')
    return cell.to_numpy(zero_copy_only=False).reshape(shape)
