# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""From frames to the tensors and data samples that models take."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.structures import InstanceData

from nexusflow.datasets.frames import Frame

_META_KEYS = (
    'token',
    'scene_token',
    'scene_name',
    'location',
    'frame_idx',
    'time_s',
    'tasks',
    'lidar2img',
    'ori_lidar2img',
    'lidar2global',
    'cam_names',
    'img_paths',
)


@TRANSFORMS.register_module()
class NexusPackClip(BaseTransform):
    """Makes ``{'inputs': {'img': (T, N, 3, H, W) uint8 RGB}, 'data_samples': [T samples]}``.

    Each sample holds ``gt_instances_3d`` (``bboxes_3d`` with velocity, ``labels_3d``,
    ``instance_ids``), ``gt_map`` (``labels``, ``pts_m``, ``is_closed``) and metainfo, see
    ``_META_KEYS``, plus ``img2lidar`` and ``img_shape``.

    Raises:
        ValueError: The cameras' images differ in size.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack ``results['frames']``."""
        frames = results['frames']
        sizes = {img.shape for frame in frames for img in frame['imgs']}
        if len(sizes) > 1:
            raise ValueError(
                f"sample '{frames[0]['token']}': images of different sizes {sorted(sizes)}; "
                'put NexusImageAug before NexusPackClip in the pipeline'
            )
        images = torch.from_numpy(np.stack([np.stack(list(f['imgs'])) for f in frames]))
        return {
            'inputs': {'img': images.permute(0, 1, 4, 2, 3).contiguous()},
            'data_samples': [data_sample(f) for f in frames],
        }


def data_sample(frame: Frame) -> Det3DDataSample:
    """Make the data sample of one frame.

    Args:
        frame: See :meth:`nexusflow.datasets.frames.FrameSpec.frame`, with ``imgs`` and
            ``lidar2img``.

    Returns:
        The sample; boxes in the lidar frame.
    """
    boxes = torch.from_numpy(frame['boxes'].astype(np.float32))
    meta = {key: frame[key] for key in _META_KEYS}
    meta['img2lidar'] = np.linalg.inv(frame['lidar2img'])
    meta['img_shape'] = tuple(frame['imgs'][0].shape[:2])
    meta['box_type_3d'] = LiDARInstance3DBoxes
    sample = Det3DDataSample(metainfo=meta)
    sample.gt_instances_3d = InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(boxes, box_dim=9, origin=(0.5, 0.5, 0.5)),
        labels_3d=torch.from_numpy(frame['labels']),
        instance_ids=torch.from_numpy(frame['instance_ids']),
    )
    sample.gt_map = InstanceData(
        labels=torch.from_numpy(frame['map_labels']),
        pts_m=torch.from_numpy(np.ascontiguousarray(frame['map_pts'], dtype=np.float32)),
        is_closed=torch.from_numpy(frame['map_closed']),
    )
    return sample
