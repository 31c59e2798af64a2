# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# SegNet split after its last layer, from scratch: 25.06 M parameters with the three heads of NYUv2.
model = dict(
    type='NexusDenseDetector',
    trunk=dict(type='NexusSegNet', widths=(64, 128, 256, 512, 512), convs=(2, 2, 3, 3, 3)),
    heads=dict(
        segmentation=dict(type='NexusSegmentationHead', channels=13),
        depth=dict(type='NexusDepthHead', channels=1),
        normal=dict(type='NexusNormalHead', channels=3),
    ),
)
