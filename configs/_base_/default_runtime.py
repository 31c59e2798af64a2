# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
default_scope = 'mmdet3d'
custom_imports = dict(
    imports=[
        'nexusflow.models',
        'nexusflow.datasets',
        'nexusflow.evaluation',
        'nexusflow.engine',
        'nexusflow.visualization',
    ],
    allow_failed_imports=False,
)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='NexusCheckpointHook', interval=100, by_epoch=False, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    random_seed=dict(type='NexusSeedHook'),
    visualization=dict(type='NexusVisualizationHook'),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
log_processor = dict(type='LogProcessor', window_size=20, by_epoch=False)
log_level = 'INFO'
randomness = dict(seed=0)
load_from = None
resume = False
