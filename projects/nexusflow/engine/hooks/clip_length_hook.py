# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Training clips that grow longer during training (MOTR, Zeng et al., 2022: 2, 3, 4, 5 frames)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from mmdet3d.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class NexusClipLengthHook(Hook):
    """Cuts each batch to the clip length of the moment; the data set gives the longest.

    The length depends on the epoch or iteration alone. So the number of clips, their order and the learning rate
    schedule are those of a run without the hook, workers go on, and a resumed run sees what an undisturbed one does.
    A :class:`NexusClipDataset` is told, some batches ahead, how many frames are needed; others load all of them.

    Args:
        lengths: Frames of a clip, ascending.
        milestones: Epoch (or iteration) from which each length but the first holds; one fewer than ``lengths``.
        by_epoch: Whether milestones are epochs; else iterations.

    Raises:
        ValueError: Numbers that do not fit, or (before the first step) clips shorter than the longest length.
    """

    def __init__(
        self, lengths: Sequence[int], milestones: Sequence[int], by_epoch: bool = True
    ) -> None:
        if len(milestones) != len(lengths) - 1 or list(milestones) != sorted(set(milestones)):
            raise ValueError(
                f'clip length schedule: milestones {list(milestones)} must ascend and be one fewer than '
                f'lengths {list(lengths)}'
            )
        if list(lengths) != sorted(lengths) or lengths[0] < 1:
            raise ValueError(f'clip length schedule: lengths {list(lengths)} must ascend from >= 1')
        self.lengths, self.milestones = tuple(lengths), tuple(milestones)
        self.by_epoch = by_epoch

    def length_at(self, now: int) -> int:
        """Frames of a clip in an epoch or iteration, counted from 0."""
        return self.lengths[bisect_right(self.milestones, now)]

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Keep the first frames of the batch's clips."""
        images, samples = data_batch['inputs']['img'], data_batch['data_samples']
        loader = runner.train_dataloader
        told = hasattr(loader.dataset, 'load_frames')
        given = loader.dataset.clip_length if told else len(samples)
        if given < self.lengths[-1]:
            raise ValueError(
                f'clip length schedule: lengths end with {self.lengths[-1]}, but the data set gives '
                f'{given} frames; set train_dataloader.dataset.clip_length to {self.lengths[-1]}'
            )
        length = self._length_after(runner, 0)
        data_batch['inputs']['img'] = [clip[:length] for clip in images]
        data_batch['data_samples'] = samples[:length]
        runner.message_hub.update_scalar('train/clip_length', length)
        if told:
            # the next batch that the workers begin: those before it are on their way
            ahead = loader.num_workers * (loader.prefetch_factor or 0) + 1
            loader.dataset.load_frames(self._length_after(runner, ahead))

    def _length_after(self, runner: Runner, iterations: int) -> int:
        """Frames of a clip some iterations from now; lengths ascend."""
        then = runner.iter + iterations
        return self.length_at(then // len(runner.train_dataloader) if self.by_epoch else then)
