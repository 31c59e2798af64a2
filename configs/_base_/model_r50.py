# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# Map and track from six 704x256 images, ResNet-50, BEV 200x200; the heads have MapTR's and MUTR3D's sizes.
channels = 256
bev_grid = dict(range_m=(-51.2, -51.2, 51.2, 51.2), cell_m=0.512)
map_grid = dict(range_m=(-15.0, -30.0, 15.0, 30.0), cell_m=0.3)
model = dict(
    type='NexusMapTrackDetector',
    data_preprocessor=dict(type='NexusDataPreprocessor'),
    img_backbone=dict(
        type='mmdet.ResNet',
        depth=50,
        num_stages=4,
        out_indices=(1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    img_neck=dict(
        type='SECONDFPN',
        in_channels=[512, 1024, 2048],
        out_channels=[128, 64, 64],
        upsample_strides=[1, 2, 4],
    ),
    lift=dict(
        type='NexusVoxelLift',
        in_channels=channels,
        out_channels=channels,
        grid=bev_grid,
        kernel_size=3,
    ),
    temporal=dict(type='NexusTemporalFusion', channels=channels, grid=bev_grid),
    map_head=dict(
        type='NexusMapHead',
        channels=channels,
        bev_grid=bev_grid,
        grid=map_grid,
        num_queries=50,
        num_layers=6,
    ),
    track_head=dict(
        type='NexusTrackHead',
        channels=channels,
        bev_grid=bev_grid,
        grid=bev_grid,
        num_queries=900,
        num_layers=6,
    ),
)
