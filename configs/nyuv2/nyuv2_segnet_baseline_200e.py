# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# NYUv2, one label per image, nothing added.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/dataset_nyuv2.py',
    '../_base_/model_segnet.py',
    '../_base_/schedule_200e.py',
]
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(by_epoch=True, interval=10))
log_processor = dict(by_epoch=True)
