# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Whether the map of the data and the map of the model are of one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet3d.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner


@HOOKS.register_module()
class NexusMapRangeHook(Hook):
    """Refuses data whose map vectors were cut out by another rectangle than that of the model's map head.

    Labels would lie outside the head's grid, or a part of it be without labels, and the score be low without a word.
    Models without a ``map_head`` and data whose meta has no ``map_range_m`` are let through. It is registered by
    ``engine.cli.build_runner``, which tools/train.py and tools/test.py call.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the data of training and validation.

        Raises:
            ValueError: Naming both rectangles and the mend.
        """
        loops = [loop for loop in (runner.train_loop, runner.val_loop) if loop is not None]
        for loop in loops:
            check_map_range(runner.model, loop.dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Check the data of the test; raises as :meth:`before_train` does."""
        check_map_range(runner.model, runner.test_loop.dataloader.dataset)


def check_map_range(model: Any, dataset: Any) -> None:
    """Compare the rectangle of a data set's map vectors with that of a model's map head, both in the lidar frame.

    Raises:
        ValueError: They differ.
    """
    head = getattr(model.module if is_model_wrapper(model) else model, 'map_head', None)
    given = getattr(dataset, 'metainfo', {}).get('map_range_m')
    if head is None or given is None or np.allclose(given, head.grid.range_m):
        return
    name = getattr(dataset, 'ann_file', type(dataset).__name__)
    raise ValueError(
        f'{name}: its map vectors were cut out by map_range_m {numbers(given)}, model.map_head.grid.range_m is '
        f'{numbers(head.grid.range_m)}: convert the data with tools/create_data.py --map-range '
        f'{numbers(head.grid.range_m)} or give the head their range'
    )


def numbers(range_m: Sequence[float]) -> str:
    """Numbers as a command line has them."""
    return ' '.join(f'{value:g}' for value in range_m)
