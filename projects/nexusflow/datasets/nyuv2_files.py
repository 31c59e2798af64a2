# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Reads dense samples in the layout of MTAN's NYUv2, and refuses what does not fit it.

``<root>/<split>/{image,label,depth,normal}/<i>.npy``, i = 0..N-1 without gaps; the same height and
width everywhere; any numeric type:

====== ========= ==========================================================
folder shape     values
====== ========= ==========================================================
image  (H, W, 3) RGB in [0, 1]
label  (H, W)    whole numbers, -1 (not labelled) to the last class
depth  (H, W, 1) metres, 0: not measured
normal (H, W, 3) vectors no longer than 1, zero: not measured
====== ========= ==========================================================

A further folder holds (H, W), (H, W, 1) or (H, W, C) arrays of finite numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

__all__ = ['CHECKS', 'DENSE_FIELDS', 'DenseField', 'DenseFolder', 'extra_field']

CHECKS: Final = ('first', 'all')
#: Half precision makes unit vectors longer by less than this.
_TOLERANCE: Final = 5e-3


@dataclass(frozen=True)
class DenseField:
    """One folder of a split.

    Attributes:
        name: Name of the folder.
        channels: Size of a third axis; 0: none; None: any.
        values: What the values must be, for messages.
        fits: Whether an array's values are such; gets the array and the number of classes.
    """

    name: str
    channels: int | None
    values: str
    fits: Callable[[np.ndarray, int], bool]

    def check_shape(
        self, shape: tuple[int, ...], size_hw: tuple[int, int] | None, where: str
    ) -> None:
        """Refuse a shape.

        Args:
            shape: Of the array.
            size_hw: Height and width that it must have; None: any.
            where: The file, for the message.

        Raises:
            ValueError: It does not fit.
        """
        tail = {0: (), None: shape[2:3]}.get(self.channels, (self.channels,))
        size = ('H', 'W') if size_hw is None else size_hw
        if len(shape) < 2 or shape[2:] != tail or (size_hw is not None and shape[:2] != size_hw):
            wanted = ', '.join(str(v) for v in (*size, *tail))
            raise ValueError(
                f"{where}: '{self.name}' must have shape ({wanted}), but it is {tuple(shape)}; write "
                'all arrays of a split with channels last and of one height and width'
            )

    def check_values(self, array: np.ndarray, num_classes: int, where: str) -> None:
        """Refuse values.

        Raises:
            ValueError: They do not fit; the message names the file.
        """
        if array.dtype.kind not in 'fiub' or not self.fits(array, num_classes):
            low, high = (array.min(), array.max()) if array.dtype.kind in 'fiub' else ('?', '?')
            wanted = self.values.format(last=num_classes - 1)
            raise ValueError(
                f"{where}: '{self.name}' must hold {wanted}, but it is {array.dtype} from {low} to "
                f'{high}; convert it again'
            )


def _fits_image(array: np.ndarray, _: int) -> bool:
    return bool((array >= 0).all() and (array <= 1).all())


def _fits_label(array: np.ndarray, num_classes: int) -> bool:
    within = (array >= -1).all() and (array < num_classes).all()
    return bool(within and (array == np.floor(array)).all())


def _fits_depth(array: np.ndarray, _: int) -> bool:
    return bool((array >= 0).all() and np.isfinite(array).all())


def _fits_normal(array: np.ndarray, _: int) -> bool:
    squared = np.square(array, dtype=np.float32).sum(axis=-1)
    return bool((squared <= (1 + _TOLERANCE) ** 2).all())


def _fits_extra(array: np.ndarray, _: int) -> bool:
    return bool(np.isfinite(array).all())


DENSE_FIELDS: Final = (
    DenseField('image', 3, 'numbers in [0, 1]', _fits_image),
    DenseField('label', 0, 'whole numbers from -1 to {last}', _fits_label),
    DenseField('depth', 1, 'finite metres, 0 or more', _fits_depth),
    DenseField('normal', 3, 'vectors no longer than 1', _fits_normal),
)


def extra_field(name: str) -> DenseField:
    """A further folder of dense targets."""
    return DenseField(name, None, 'finite numbers', _fits_extra)


class DenseFolder:
    """The files of one split.

    Args:
        root: Data root.
        split: Name of the split's folder.
        num_classes: Number of classes.
        extra: Names of further folders.

    Raises:
        FileNotFoundError: A folder or a file is missing.
        ValueError: A folder holds files that belong to no image.
    """

    def __init__(
        self, root: str | Path, split: str, num_classes: int, extra: Sequence[str] = ()
    ) -> None:
        self.folder = Path(root) / split
        self.num_classes = num_classes
        fields = (*DENSE_FIELDS, *(extra_field(name) for name in extra))
        self.fields = {field.name: field for field in fields}
        self._count = self._complete()
        self._size_hw: tuple[int, int] | None = None
        self._size_hw = self._open('image', 0).shape[:2]

    def __len__(self) -> int:
        return self._count

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of every array."""
        return self._size_hw

    def path(self, name: str, i: int) -> Path:
        """The file of a field of sample i."""
        return self.folder / name / f'{i}.npy'

    def read(self, name: str, i: int) -> np.ndarray:
        """Reads a field of a sample; only its shape is checked.

        Args:
            name: Name of the folder.
            i: Number of the sample.

        Returns:
            (H, W) int64 for 'label'; otherwise float32, (H, W) for one channel, else (H, W, C).

        Raises:
            FileNotFoundError: The file is gone.
            ValueError: It is no array of this field.
        """
        array = self._open(name, i)
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[..., 0]
        return np.array(array, np.int64 if name == 'label' else np.float32)

    def check(self, mode: str = 'first') -> int:
        """Looks at shapes and values of the first sample or of all.

        Returns:
            Number of samples that were looked at.

        Raises:
            ValueError: ``mode`` is unknown, or a file does not fit; the message names it.
        """
        if mode not in CHECKS:
            raise ValueError(f"check is '{mode}', it must be one of {CHECKS}")
        samples = len(self) if mode == 'all' else 1
        for i in range(samples):
            for name, field in self.fields.items():
                array = np.asarray(self._open(name, i))
                field.check_values(array, self.num_classes, str(self.path(name, i)))
        return samples

    def _open(self, name: str, i: int) -> np.ndarray:
        """A memory-mapped array of the right shape."""
        path = self.path(name, i)
        try:
            array = np.load(path, mmap_mode='r', allow_pickle=False)
        except FileNotFoundError:
            raise FileNotFoundError(f'{path} is missing: unpack the data set again') from None
        except (ValueError, EOFError) as error:
            raise ValueError(f'{path} is no plain .npy array ({error}): unpack it again') from error
        self.fields[name].check_shape(array.shape, self._size_hw, str(path))
        return array

    def _complete(self) -> int:
        """Number of samples; every folder must have the files 0..N-1 and no others."""
        folder = self.folder / 'image'
        if not folder.is_dir():
            raise FileNotFoundError(
                f'{folder} is missing: set the data root to a folder with train/ and val/ in it, or '
                'make one with tools/make_world.py --kind indoor'
            )
        count = sum(1 for _ in folder.glob('*.npy'))
        if not count:
            raise FileNotFoundError(f'{folder} has no .npy files: unpack the data set again')
        wanted = {f'{i}.npy' for i in range(count)}
        for name in self.fields:
            found = {path.name for path in (self.folder / name).glob('*.npy')}
            if missing := sorted(wanted - found, key=lambda file: (len(file), file)):
                raise FileNotFoundError(
                    f'{self.folder / name / missing[0]} is missing ({len(missing)} of {count} files '
                    f"in '{name}'): the folder image/ has {count}, files must be 0.npy to "
                    f'{count - 1}.npy in every folder'
                )
            if surplus := sorted(found - wanted):
                raise ValueError(
                    f'{self.folder / name / surplus[0]} belongs to no image: image/ has {count} '
                    'files; remove it'
                )
        return count
