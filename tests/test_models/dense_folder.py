# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A data set of noise in NYUv2's layout."""

import numpy as np


def write_folder(root, sizes, image_hw=(32, 64)):
    """Write ``sizes`` = {split: number of images} below ``root``; classes follow the brightness."""
    rng = np.random.default_rng(0)
    for split, count in sizes.items():
        for k in range(count):
            image = np.repeat(
                np.repeat(rng.random((4, 8, 3)), image_hw[0] // 4, 0), image_hw[1] // 8, 1
            )
            normal = rng.normal(size=(*image_hw, 3))
            normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
            arrays = dict(
                image=image.astype(np.float32),
                label=(image[..., 0] * 13).astype(np.int8),
                depth=1 + 3 * image[..., 1:2].astype(np.float32),
                normal=normal.astype(np.float32) * 0.999,
            )
            for name, array in arrays.items():
                folder = root / split / name
                folder.mkdir(parents=True, exist_ok=True)
                np.save(folder / f'{k}.npy', array)
    return root
