# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""From an image and its dense labels to the tensor and the data sample that models take."""

from __future__ import annotations

from typing import Any

from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS
from mmengine.structures import BaseDataElement, PixelData

from nexusflow.datasets.transforms.dense_targets import to_channels

_META_KEYS = ('sample_idx', 'img_path', 'tasks')


@TRANSFORMS.register_module()
class NexusPackDense(BaseTransform):
    """Makes ``{'inputs': {'img': (3, H, W) float32 RGB}, 'data_samples': sample}``.

    Each entry ``gt_<name>`` of the results becomes a field of the sample with its pixels as ``data``
    (C, H, W). Metainfo: ``token`` (``sample_idx`` as text), ``sample_idx``, ``img_path``, ``tasks`` and
    ``img_shape``.

    Raises:
        ValueError: Labels and image differ in size.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack one image."""
        shape = results['img'].shape[:2]
        fields = {}
        for field in (key for key in results if key.startswith('gt_')):
            if results[field].shape[:2] != shape:
                raise ValueError(
                    f"sample '{results['sample_idx']}': '{field}' has shape"
                    f' {results[field].shape}, its image {shape}; the transform that resized one of'
                    f" them does not know '{field}', add it to its 'kinds'"
                )
            fields[field] = PixelData(data=to_channels(results[field]))
        meta = {key: results[key] for key in _META_KEYS}
        meta.update(token=str(results['sample_idx']), img_shape=tuple(shape))
        meta['tasks'] = tuple(meta['tasks'])
        return {
            'inputs': {'img': to_channels(results['img'])},
            'data_samples': BaseDataElement(metainfo=meta, **fields),
        }
