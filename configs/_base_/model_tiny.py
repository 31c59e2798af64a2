# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# Map and track from six small images, sized for two CPU cores. Trains from scratch.
channels = 48
bev_grid = dict(range_m=(-51.2, -51.2, 51.2, 51.2), cell_m=1.28)
map_grid = dict(range_m=(-15.0, -30.0, 15.0, 30.0), cell_m=0.6)
model = dict(
    type='NexusMapTrackDetector',
    data_preprocessor=dict(type='NexusDataPreprocessor'),
    img_backbone=dict(
        type='mmdet.ResNet',
        depth=18,
        base_channels=16,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(0, 1, 2),
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch',
    ),
    img_neck=dict(
        type='SECONDFPN',
        in_channels=[16, 32, 64],
        out_channels=[channels // 3] * 3,
        upsample_strides=[1, 2, 4],
    ),
    lift=dict(
        type='NexusVoxelLift',
        in_channels=channels,
        out_channels=channels,
        grid=bev_grid,
        heights_m=(-1.84, -1.0, 0.2),
        max_cameras=1,
    ),
    temporal=dict(type='NexusTemporalFusion', channels=channels, grid=bev_grid, kernel_size=1),
    near=dict(
        type='NexusNearLevel',
        in_channels=channels,
        channels=channels,
        far_grid=bev_grid,
        grid=map_grid,
    ),
    map_head=dict(
        type='NexusMapHead',
        channels=channels,
        bev_grid=map_grid,
        grid=map_grid,
        num_layers=1,
        query_source='traced',
    ),
    track_head=dict(
        type='NexusTrackHead',
        channels=channels,
        bev_grid=bev_grid,
        grid=bev_grid,
        num_layers=1,
        num_blocks=1,
        newborns=dict(gap_m=2.56),
        # a velocity is not known before the second frame: as fast as what moves of each class in the training labels,
        # by axis (of cars, four in five are parked)
        motion=dict(
            speed_std=(3.0, 5.0, 5.0, 5.0, 1.0, 6.0, 3.5),
            accel_std=(1.5, 1.5, 1.5, 1.5, 0.7, 1.5, 1.5),
        ),
        # objects are few where lines are many: four to six times the default weights, at which the map loses nothing
        loss=dict(cls_weight=8.0, box_weight=1.5, heat_weight=6.0, seg_weight=0.18),
    ),
    # a weak detector flickers, and takes bicycles for motorcycles: born early, kept on less (what was seen needs less
    # evidence than a newborn), and weighed by all that was seen
    lifecycle=dict(
        birth_score=0.2, keep_score=0.1, evidence_frames=2.0, class_sharpness=0.6, concentration=0.5
    ),
)
