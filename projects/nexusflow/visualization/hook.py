# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Pictures of test samples, made while a model is tested."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
from mmdet3d.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log

from .canvas import RGBImage, write_image
from .content import content_of_labels, content_of_predictions
from .dense import dense_sheet
from .sheet import cameras_of_sample, sample_sheet

__all__ = ['NexusVisualizationHook', 'picture_name']


@HOOKS.register_module()
class NexusVisualizationHook(Hook):
    """One picture per tested sample.

    Map and tracks: cameras with boxes and map lines, ground truth, prediction. Dense tasks: the
    image, and label and prediction of each task.

    The arguments are those of mmdet3d's ``Det3DVisualizationHook``. As
    ``default_hooks.visualization`` it draws nothing until ``tools/test.py --show-dir DIR`` sets
    ``draw`` and ``test_out_dir``. Every process draws its own samples.

    Args:
        draw: Whether to draw.
        interval: Draw every n-th sample of each process.
        score_thr: Lowest score of a box or a map line that is drawn.
        show: Whether to show each picture in a window; needs a display.
        wait_time: Seconds for which a shown picture stays.
        test_out_dir: Folder of the pictures, a relative one inside the work directory; None writes
            none.

    Raises:
        ValueError: ``interval`` is below 1, or it shall draw but neither show nor write.
    """

    priority = 'LOW'

    def __init__(
        self,
        draw: bool = False,
        interval: int = 1,
        score_thr: float = 0.3,
        show: bool = False,
        wait_time: float = 0.0,
        test_out_dir: str | None = None,
    ) -> None:
        if interval < 1:
            raise ValueError(f'NexusVisualizationHook: interval is {interval}, must be at least 1')
        if draw and not show and test_out_dir is None:
            raise ValueError('NexusVisualizationHook: draw needs test_out_dir (or show)')
        self.draw_samples = draw
        self.interval = interval
        self.score_thr = score_thr
        self.show, self.wait_time = show, wait_time
        self.test_out_dir = test_out_dir
        self._count = 0

    def before_test_epoch(self, runner: Any) -> None:
        """Start counting anew and say where the pictures go."""
        self._count = 0
        if self.draw_samples and self.test_out_dir is not None:
            print_log(f'pictures of test samples: {self._folder(runner)}', logger='current')

    def after_test_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Draw the samples of one batch.

        Args:
            runner: The runner.
            batch_idx: Not used.
            data_batch: The batch as loaded, with a list of 'img'.
            outputs: Data samples with labels and predictions.
        """
        del batch_idx
        if not self.draw_samples:
            return
        for row, sample in enumerate(outputs or ()):
            if self._count % self.interval == 0:
                self._deliver(runner, *self.draw(runner, sample, data_batch, row))
            self._count += 1

    def draw(self, runner: Any, sample: Any, data_batch: Any, row: int) -> tuple[str, RGBImage]:
        """File name and picture (H, W, 3) RGB of one sample, which came from a row of the batch."""
        if 'pred_map' not in sample:
            name = sample.metainfo['token']
            image = data_batch['inputs']['img'][row].cpu().numpy()
            return f'{name}.png', dense_sheet(f'image {name}', image, sample)
        classes = runner.test_dataloader.dataset.metainfo['map_classes']
        return picture_name(sample.metainfo), self.picture(sample, classes)

    def picture(self, sample: Any, map_classes: Sequence[str]) -> RGBImage:
        """The picture of one data sample, (H, W, 3) RGB."""
        meta = sample.metainfo
        title = f'{meta["location"]}   {meta["scene_name"]}   frame {meta["frame_idx"]}'
        found = content_of_predictions(sample, map_classes, self.score_thr, self.score_thr)
        panels = [('ground truth', content_of_labels(sample, map_classes)), ('prediction', found)]
        return sample_sheet(title.strip(), cameras_of_sample(sample), panels)

    def _deliver(self, runner: Any, name: str, picture: RGBImage) -> None:
        """Write and show one picture."""
        if self.test_out_dir is not None:
            write_image(self._folder(runner) / name, picture)
        if self.show:
            cv2.imshow('nexusflow', picture[..., ::-1])
            cv2.waitKey(max(1, round(1000 * self.wait_time)))

    def _folder(self, runner: Any) -> Path:
        """Where the pictures go."""
        return Path(runner.work_dir) / str(self.test_out_dir)


def picture_name(meta: Any) -> str:
    """File name of a sample's picture: scene and frame, or the token when it has no scene name.

    Example:
        >>> picture_name({'scene_name': 'scene-0103', 'frame_idx': 7, 'token': 'a1'})
        'scene-0103_0007.png'
    """
    name = meta['token']
    if meta['scene_name']:
        name = f'{meta["scene_name"]}_{meta["frame_idx"]:04d}'
    # names come from files: none may lead to another folder
    return re.sub(r'[^\w.-]', '_', name) + '.png'
