# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# A narrow ResNet-18 and a top-down decoder at a quarter of the image's size, from scratch, for a CPU. Regularisers that
# read maps get every second pixel.
model = dict(
    type='NexusDenseDetector',
    trunk=dict(
        type='NexusEncoderDecoder',
        backbone=dict(
            type='mmdet.ResNet',
            depth=18,
            base_channels=24,
            norm_cfg=dict(type='BN', requires_grad=True),
            norm_eval=False,
            style='pytorch',
        ),
        neck=dict(type='NexusTopDownNeck', in_channels=[24, 48, 96, 192], out_channels=32),
    ),
    view_stride=2,
    heads=dict(
        segmentation=dict(type='NexusSegmentationHead', channels=13),
        depth=dict(type='NexusDepthHead', channels=1),
        normal=dict(type='NexusNormalHead', channels=3),
    ),
)
