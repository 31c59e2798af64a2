# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""NYUv2 and indoor worlds: images with segmentation, depth and surface normals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmdet3d.registry import DATASETS, TRANSFORMS
from mmengine.dataset import BaseDataset

from nexusflow.datasets.nyuv2_files import DenseFolder
from nexusflow.supervision.partition import SampleKey, build_rule
from nexusflow.world.indoor.spec import CLASSES

DENSE_TASKS = ('segmentation', 'depth', 'normal')


@DATASETS.register_module()
class NexusDenseDataset(BaseDataset):
    """Images with dense targets in the layout of MTAN's NYUv2 (see ``nyuv2_files.py``).

    An item is what the pipeline makes of a dictionary with

    - ``img``: (H, W, 3) float32 RGB in [0, 1];
    - ``gt_sem_seg``: (H, W) int64 classes, -1 not labelled;
    - ``gt_depth``: (H, W) float32 metres along the optical axis, 0 not measured;
    - ``gt_normal``: (H, W, 3) float32 unit vectors in the camera frame, zero not measured;
    - ``gt_<name>``: (H, W) or (H, W, C) float32, for each further target;
    - ``tasks``: the labelled tasks; ``sample_idx``: number of the item; ``img_path``.

    Labels of every task are always present; ``tasks`` says which may be used in training.

    Args:
        data_root: Folder of the splits.
        split: Name of the split's folder: 'train' or 'val'.
        pipeline: Transforms of an item.
        supervision: Rule that labels images, e.g. ``dict(type='FromTable', path='onelabel.csv')``;
            None: all tasks. Rules know an image by its number: token and scene name are ``str(i)``,
            the location is the split.
        tasks: Names of the tasks. A task may have a target that a transform derives.
        targets: Names of further folders with targets, e.g. ``('edge',)``.
        check: Look at start-up at shapes and values of the ``'first'`` sample or of ``'all'``; that
            every file is there is always looked at, and shapes again when files are read.
        keep_unlabelled: Whether images without any labelled task stay; without them a single-task
            baseline sees its own images only.
        metainfo: Further meta information; ``classes`` replaces the 13 class names.
        **kwargs: Of mmengine's ``BaseDataset``.

    Raises:
        FileNotFoundError: A folder or a file is missing.
        ValueError: A file or the supervision rule does not fit.
    """

    METAINFO = {'classes': CLASSES, 'ignore_index': -1}

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        pipeline: Sequence[Mapping[str, Any] | Callable[[dict[str, Any]], Any]] = (),
        supervision: Mapping[str, Any] | None = None,
        tasks: Sequence[str] = DENSE_TASKS,
        targets: Sequence[str] = (),
        check: str = 'first',
        keep_unlabelled: bool = True,
        metainfo: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.tasks, self.targets, self.split = tuple(tasks), tuple(targets), split
        self._rule = build_rule(supervision, self.tasks)
        self._keep_unlabelled = keep_unlabelled
        metainfo = {**(metainfo or {}), 'tasks': self.tasks}
        num_classes = len(metainfo.get('classes', CLASSES))
        self._files = DenseFolder(data_root, split, num_classes, self.targets)
        self._files.check(check)
        super().__init__(
            metainfo=metainfo,
            data_root=data_root,
            data_prefix={},
            pipeline=[TRANSFORMS.build(t) if isinstance(t, Mapping) else t for t in pipeline],
            **kwargs,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """Number, image path and labelled tasks of each image; called by ``full_init``."""
        numbers = range(len(self._files))
        keys = [SampleKey(str(i), str(i), self.split) for i in numbers]
        return [
            {'number': i, 'img_path': str(self._files.path('image', i)), 'tasks': tasks}
            for i, tasks in zip(numbers, self._rule.assign(keys), strict=True)
            if tasks or self._keep_unlabelled
        ]

    def prepare_data(self, idx: int) -> Any:
        """Make one item.

        Args:
            idx: Index of the item.

        Returns:
            What the pipeline makes of the arrays.
        """
        info = self.get_data_info(idx)
        i = info.pop('number')
        arrays = {
            'img': self._files.read('image', i),
            'gt_sem_seg': self._files.read('label', i),
            'gt_depth': self._files.read('depth', i),
            'gt_normal': self._files.read('normal', i),
        }
        further = {f'gt_{name}': self._files.read(name, i) for name in self.targets}
        return self.pipeline({**info, **arrays, **further})
