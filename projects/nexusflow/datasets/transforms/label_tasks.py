# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Partial labels for the data sets of other libraries: the key 'tasks', by a name of the sample."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS


@TRANSFORMS.register_module()
class NexusLabelTasks(BaseTransform):
    """Write which tasks a sample is labelled for; the packing transform must be told to keep 'tasks'.

    The labels stay where they are: :class:`nexusflow.models.adapter.NexusFlowAdapter` hides those of other tasks.

    Args:
        key: Which of the sample's entries the patterns are held against.
        tasks: Task to patterns, as of a shell; the sample is labelled for a task if one of them fits.

    Example:
        >>> rule = NexusLabelTasks(tasks=dict(box=['*/boston/*'], mask=['*/singapore/*']))
        >>> rule(dict(img_path='train/boston/7.jpg'))['tasks']
        ('box',)
    """

    def __init__(self, tasks: dict[str, Sequence[str]], key: str = 'img_path') -> None:
        self.tasks = {task: tuple(patterns) for task, patterns in tasks.items()}
        self.key = key

    def transform(self, results: dict) -> dict:
        """Add 'tasks', a tuple of names.

        Args:
            results: A sample, as mmcv's transforms have it.

        Returns:
            The same dictionary.

        Raises:
            KeyError: If the sample has no such entry.
        """
        if self.key not in results:
            raise KeyError(
                f"NexusLabelTasks: the sample has no '{self.key}', only {sorted(results)}"
            )
        name = str(results[self.key])
        results['tasks'] = tuple(
            task
            for task, patterns in self.tasks.items()
            if any(fnmatchcase(name, pattern) for pattern in patterns)
        )
        return results
