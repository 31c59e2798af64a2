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
        # torchvision://resnet50 by its address: torchvision itself is not needed then
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.pytorch.org/models/resnet50-0676ba61.pth',
        ),
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
    # Queries, decoder and branches: 7.31 M parameters; MapTR's are 5.73 M, with one attention a layer less (MapTRv2
    # decoupled it). With the one-to-many queries 7.47 M, as MapTRv2's. The BEV encoder is 14.6 M more.
    map_head=dict(
        type='NexusMapHead',
        channels=channels,
        bev_grid=bev_grid,
        grid=map_grid,
        num_queries=50,
        num_points=20,
        num_layers=6,
        query_source='learned',
        decoder=dict(
            attentions=('across', 'along', 'cross'),
            num_heads=8,
            sample_points=4,
            ffn_channels=512,
            cls_hidden=2,
            reg_hidden=2,
            step_m=10.0,
            dropout=0.1,
        ),
        # MapTR's weights in metres: its points' L1 is a sum over 40 coordinates in units of 30 m and 60 m, times 5
        loss=dict(
            cls_weight=2.0, pts_weight=5.0, dir_weight=0.1, seg_weight=0.0, max_distance_m=None
        ),
    ),
    track_head=dict(
        type='NexusTrackHead',
        channels=channels,
        bev_grid=bev_grid,
        grid=bev_grid,
        num_queries=900,
        num_layers=6,
        query_source='learned',
        decoder=dict(num_heads=8),
        loss=dict(max_distance_m=None),
    ),
    lifecycle=dict(birth_score=0.4, keep_score=0.35, patience=5),
)
