# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What a world is made of: the recipe and its presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LOCATIONS: Final = ('boston-seaport', 'singapore-onenorth')
SOURCES: Final = ('sumo', 'av2')


@dataclass(frozen=True)
class WorldSpec:
    """The recipe of a world; the seed is not part of it.

    Attributes:
        source: ``'sumo'``: generated roads and traffic in two cities; ``'av2'``: real Argoverse 2
            logs.
        train_scenes_per_city: Training scenes of each city (sumo).
        val_scenes_per_city: Validation scenes of each city (sumo).
        frames_per_scene: Key frames of a scene, at 2 Hz (sumo).
        train_networks_per_city: Road networks that the training scenes of a city share (sumo); not
            more are made than there are scenes.
        val_networks_per_city: The same for validation; the networks are other ones.
        image_size_wh: Width and height of every camera image, pixels.
        domain_gap: 0: both cities look the same; 1: the full difference.
        av2_logs: Folders of Argoverse 2 sensor logs (av2). The last log is the validation split,
            the others are the training split.
    """

    source: str = 'sumo'
    train_scenes_per_city: int = 22
    val_scenes_per_city: int = 5
    frames_per_scene: int = 20
    train_networks_per_city: int = 4
    val_networks_per_city: int = 2
    image_size_wh: tuple[int, int] = (480, 270)
    domain_gap: float = 1.0
    av2_logs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"source: '{self.source}' is unknown; one of {', '.join(SOURCES)}")
        if not 0.0 <= self.domain_gap <= 1.0:
            raise ValueError(f'domain_gap: must lie in [0, 1], got {self.domain_gap}')
        if min(self.image_size_wh) < 32:
            raise ValueError(
                f'image_size_wh: sides of 32 pixels at least, got {self.image_size_wh}'
            )
        if self.source == 'av2':
            self._check_av2()
        else:
            self._check_sumo()

    def _check_av2(self) -> None:
        if not self.av2_logs:
            raise ValueError('av2_logs: the source av2 needs at least one log: --av2-log DIR')

    def _check_sumo(self) -> None:
        if self.av2_logs:
            raise ValueError('av2_logs: logs are read with the source av2 only: --source av2')
        if self.frames_per_scene < 2:
            raise ValueError(f'frames_per_scene: at least 2, got {self.frames_per_scene}')
        if self.train_scenes_per_city + self.val_scenes_per_city < 1:
            raise ValueError('train_scenes_per_city, val_scenes_per_city: no scene at all')
        for split in ('train', 'val'):
            scenes = getattr(self, f'{split}_scenes_per_city')
            networks = getattr(self, f'{split}_networks_per_city')
            if scenes < 0 or (scenes > 0 and networks < 1):
                raise ValueError(
                    f'{split}_scenes_per_city, {split}_networks_per_city: {scenes} scenes on '
                    f'{networks} networks cannot be made; at least 0 and 1'
                )


PRESETS: Final[dict[str, WorldSpec]] = {
    'demo': WorldSpec(),
    'bench': WorldSpec(
        train_scenes_per_city=60,
        val_scenes_per_city=12,
        train_networks_per_city=8,
        val_networks_per_city=4,
    ),
}


def preset(name: str) -> WorldSpec:
    """Gives a preset.

    Raises:
        ValueError: If there is none of this name.
    """
    if name not in PRESETS:
        raise ValueError(f"preset '{name}' is unknown; one of {', '.join(sorted(PRESETS))}")
    return PRESETS[name]
