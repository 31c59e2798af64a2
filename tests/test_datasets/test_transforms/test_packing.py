# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Packing refuses what cannot be stacked; what it makes is tested with the dataset."""

import numpy as np
import pytest

from nexusflow.datasets.transforms import NexusPackClip


def test_images_of_different_sizes():
    sizes = ((4, 6, 3), (5, 6, 3))
    frame = {'token': 't7', 'imgs': [np.zeros(s, np.uint8) for s in sizes]}
    with pytest.raises(
        ValueError, match=r"sample 't7': images of different sizes .*put NexusImageAug"
    ):
        NexusPackClip()({'frames': [frame]})
