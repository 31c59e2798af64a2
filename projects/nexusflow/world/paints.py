# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Colours (BGR in [0, 255]) that all cities share, and the choice of the others."""

from __future__ import annotations

from typing import Final

import numpy as np

from nexusflow.world.scene import NDArrayFloat

DARK: Final = (34.0, 32.0, 30.0)
GLASS: Final = (72.0, 62.0, 54.0)
WHITE_LIGHT: Final = (235.0, 250.0, 255.0)
RED_LIGHT: Final = (40.0, 30.0, 215.0)
PLATE: Final = (225.0, 228.0, 228.0)
ORANGE: Final = (20.0, 105.0, 245.0)
WHITE: Final = (235.0, 235.0, 235.0)
RED: Final = (45.0, 40.0, 200.0)
YELLOW: Final = (30.0, 175.0, 235.0)
SKIN: Final = np.array([[130.0, 165.0, 215.0], [90.0, 125.0, 175.0], [60.0, 80.0, 115.0]])


def pick(palette: NDArrayFloat, rng: np.random.Generator) -> NDArrayFloat:
    """One of (P, 3) colours, varied a little."""
    color = palette[rng.integers(len(palette))] + rng.normal(0.0, 6.0, 3)
    return np.asarray(np.clip(color, 8.0, 250.0))
