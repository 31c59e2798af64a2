# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What an indoor data set is made of: the recipe, its presets and the 13 classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: The 13 classes of NYUv2 in the order of their labels 0..12 (SceneNet's mapping, as in MTAN's data).
CLASSES: Final = (
    'bed',
    'books',
    'ceiling',
    'chair',
    'floor',
    'furniture',
    'objects',
    'picture',
    'sofa',
    'table',
    'tv',
    'wall',
    'window',
)


def label_of(name: str) -> int:
    """The label of a class."""
    return CLASSES.index(name)


@dataclass(frozen=True)
class IndoorSpec:
    """The recipe of an indoor data set; the seed is not part of it.

    Attributes:
        train_images: Rooms of the training split, one image each.
        val_images: Rooms of the validation split; no room is in both.
        image_size_wh: Width and height of the images, pixels.
    """

    train_images: int = 795
    val_images: int = 654
    image_size_wh: tuple[int, int] = (384, 288)

    def __post_init__(self) -> None:
        if min(self.train_images, self.val_images) < 1:
            raise ValueError(
                f'train_images, val_images: at least 1 each, got {self.train_images} and '
                f'{self.val_images}'
            )
        if min(self.image_size_wh) < 32:
            raise ValueError(
                f'image_size_wh: sides of 32 pixels at least, got {self.image_size_wh}'
            )


INDOOR_PRESETS: Final[dict[str, IndoorSpec]] = {
    # The sizes of NYUv2 as pre-processed by MTAN.
    'nyuv2': IndoorSpec(),
    'demo': IndoorSpec(train_images=24, val_images=8, image_size_wh=(192, 144)),
    'tiny': IndoorSpec(train_images=240, val_images=96, image_size_wh=(128, 96)),
}


def indoor_preset(name: str) -> IndoorSpec:
    """Gives a preset.

    Raises:
        ValueError: If there is none of this name.
    """
    if name not in INDOOR_PRESETS:
        raise ValueError(
            f"preset '{name}' is unknown; of indoor: one of {', '.join(sorted(INDOOR_PRESETS))}"
        )
    return INDOOR_PRESETS[name]
