# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Where the things of a scene are in one frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nexusflow.world.scene import NDArrayFloat, NDArrayInt


@dataclass(frozen=True)
class Poses:
    """Where the things are in one frame, global frame.

    Attributes:
        bottom_m: (I, 3) centres of the undersides.
        yaw_rad: (I,) headings.
        present: (I,) whether they exist in this frame.
    """

    bottom_m: NDArrayFloat
    yaw_rad: NDArrayFloat
    present: NDArray[np.bool_]

    def turned(self, index: NDArrayInt, vectors: NDArrayFloat) -> NDArrayFloat:
        """(K, 3) global vectors in the frames of things ``index``."""
        cos, sin = np.cos(self.yaw_rad[index]), np.sin(self.yaw_rad[index])
        x, y, z = np.broadcast_to(vectors, (len(index), 3)).T
        return np.stack([cos * x + sin * y, cos * y - sin * x, z], axis=1)
